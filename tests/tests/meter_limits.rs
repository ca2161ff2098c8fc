//! How many at once, and how many a second: on tokio's paused clock, to the millisecond.

use std::cell::{Cell, RefCell};
use std::pin::pin;
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt as _;
use reducer_core::Meter;
use reducer_tests::ByHand;
use tokio::time::{Instant, advance, sleep, sleep_until};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Notes when jobs start and how many run.
#[derive(Clone, Default)]
struct Watch(Rc<Notes>);

struct Notes {
    begin: Instant,
    starts: RefCell<Vec<u128>>,
    running: Cell<usize>,
    most: Cell<usize>,
}

impl Default for Notes {
    fn default() -> Self {
        let begin = Instant::now();
        Self { begin, starts: RefCell::default(), running: Cell::new(0), most: Cell::new(0) }
    }
}

impl Watch {
    async fn job(self, length: Duration) {
        let notes = &self.0;
        notes.starts.borrow_mut().push(notes.begin.elapsed().as_millis());
        notes.running.set(notes.running.get() + 1);
        notes.most.set(notes.most.get().max(notes.running.get()));
        if !length.is_zero() {
            sleep(length).await;
        }
        notes.running.set(notes.running.get() - 1);
    }

    fn jobs(
        &self,
        count: usize,
        length: Duration,
    ) -> impl Iterator<Item = impl Future<Output = ()>> {
        let watch = self.clone();
        (0..count).map(move |_| watch.clone().job(length))
    }

    fn starts(&self) -> Vec<u128> {
        self.0.starts.take()
    }
}

#[tokio::test(start_paused = true)]
async fn the_limit_is_reached_and_never_passed_by_any_form() {
    for limit in [1, 2, 5, 10, 20] {
        let meter = Meter::new().max_at_once(limit);
        let job = |watch: &Watch| {
            let watch = watch.clone();
            move |n: u64| watch.clone().job(ms(10 + n % 7))
        };
        let by = [Watch::default(), Watch::default(), Watch::default(), Watch::default()];
        meter.run_on_each(0..30, job(&by[0])).await;
        meter.run_all((0..30).map(job(&by[1]))).await;
        meter.amap(0..30, job(&by[2])).collect::<Vec<_>>().await;
        meter.run_any((0..30).map(job(&by[3]))).await;
        for (form, watch) in by.iter().enumerate() {
            assert_eq!(watch.0.most.get(), limit, "form {form}");
        }
        assert_eq!(meter.stats().running, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn starts_are_exactly_a_period_apart() {
    for (rate, expected) in [
        (5.0, [0, 200, 400]),
        (100.0, [0, 10, 20]),
        (0.2, [0, 5_000, 10_000]),
        (1_000.0, [0, 1, 2]),
        (3.0, [0, 334, 667]),
    ] {
        let watch = Watch::default();
        Meter::new().max_per_second(rate).run_all(watch.jobs(3, ms(0))).await;
        assert_eq!(watch.starts(), expected, "{rate} per second");
    }
}

#[tokio::test(start_paused = true)]
async fn a_place_is_awaited_first_and_only_then_a_start_is_spent() {
    let watch = Watch::default();
    let meter = Meter::new().max_at_once(2).max_per_second(100.0);
    meter.run_all(watch.jobs(6, ms(50))).await;
    // The third is due at 20, has its place at 50, and from then on the schedule counts.
    assert_eq!(watch.starts(), [0, 10, 50, 60, 100, 110]);
}

#[tokio::test(start_paused = true)]
async fn high_rates_are_kept_on_a_clock_of_milliseconds() {
    for rate in [100, 1_000, 5_000] {
        let watch = Watch::default();
        Meter::new()
            .max_per_second(rate.into())
            .run_all(watch.jobs(2 * rate as usize + 1, ms(0)))
            .await;
        let starts = watch.starts();
        assert_eq!(starts.last(), Some(&2_000), "{rate} per second");
        let most = starts.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap();
        assert!(
            most <= 1.max(rate as usize / 1_000),
            "{most} in a millisecond at {rate} per second"
        );
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_saved_up_beyond_the_burst() {
    let watch = Watch::default();
    let meter = Meter::new().max_per_second(1_000.0);
    for _ in 0..3 {
        meter.run_all(watch.jobs(3, ms(0))).await;
        sleep(ms(98)).await;
    }
    assert_eq!(watch.starts(), [0, 1, 2, 100, 101, 102, 200, 201, 202]);

    let watch = Watch::default();
    let meter = Meter::new().max_per_second(10.0).burst(3);
    meter.run_all(watch.jobs(5, ms(0))).await;
    sleep(ms(10_000)).await;
    meter.run_all(watch.jobs(4, ms(0))).await;
    assert_eq!(watch.starts(), [0, 0, 0, 100, 200, 10_200, 10_200, 10_200, 10_300]);
}

#[tokio::test(start_paused = true)]
async fn what_was_held_up_is_made_up_for_within_the_tolerance() {
    for (tolerance, at_once) in [(5, 6), (0, 1), (20, 21)] {
        let watch = Watch::default();
        let meter = Meter::new().max_per_second(1_000.0).catch_up(ms(tolerance));
        let mut jobs = meter.amap(0..60, |_| watch.clone().job(ms(0)));
        jobs.next().await;
        // The next one asks for its start, and then nobody comes for a while.
        assert!(futures_util::poll!(jobs.next()).is_pending());
        tokio::time::advance(ms(50)).await;
        jobs.collect::<Vec<_>>().await;
        let starts = watch.starts();
        assert_eq!(starts.iter().filter(|start| **start == 50).count(), at_once);
    }
}

#[tokio::test(start_paused = true)]
async fn clones_and_callers_share_one_limit() {
    let watch = Watch::default();
    let meter = Meter::new().max_at_once(3).max_per_second(100.0);
    let (a, b) = (meter.clone(), meter.clone());
    tokio::join!(
        a.run_all(watch.jobs(5, ms(25))),
        b.run_on_each(0..5, |_| watch.clone().job(ms(25))),
        async {
            for _ in 0..5 {
                let _permit = meter.acquire().await;
                watch.clone().job(ms(25)).await;
            }
        }
    );
    assert_eq!(watch.0.most.get(), 3);
    let starts = watch.starts();
    assert_eq!(starts.len(), 15);
    assert!(starts.windows(2).all(|pair| pair[1] - pair[0] >= 10), "{starts:?}");
}

#[tokio::test(start_paused = true)]
async fn waiters_are_served_in_the_order_in_which_they_came() {
    for meter in [
        Meter::new().max_at_once(1),
        Meter::new().max_per_second(100.0),
        Meter::new().max_at_once(2).max_per_second(1_000.0),
    ] {
        let served = RefCell::new(Vec::new());
        let callers = (0..200).map(|caller| {
            let (meter, served) = (&meter, &served);
            async move {
                let _permit = meter.acquire().await;
                served.borrow_mut().push(caller);
                sleep(ms(3)).await;
            }
        });
        futures_util::future::join_all(callers).await;
        assert_eq!(served.into_inner(), (0..200).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn a_higher_limit_and_a_higher_rate_are_for_those_who_wait() {
    let watch = Watch::default();
    let meter = Meter::new().max_at_once(1);
    tokio::join!(meter.run_all(watch.jobs(6, ms(100))), async {
        sleep(ms(50)).await;
        meter.set_max_at_once(3);
        sleep(ms(75)).await;
        meter.set_max_at_once(1);
    });
    assert_eq!(watch.starts(), [0, 50, 50, 100, 200, 300]);

    let watch = Watch::default();
    let meter = Meter::new().max_per_second(0.1);
    tokio::join!(meter.run_all(watch.jobs(4, ms(0))), async {
        sleep(ms(500)).await;
        meter.set_max_per_second(1.0);
        sleep(ms(600)).await;
        meter.set_max_per_second(100.0);
    });
    assert_eq!(watch.starts(), [0, 1_000, 1_100, 1_110]);
}

#[tokio::test(start_paused = true)]
async fn a_lower_limit_is_for_those_whose_turn_has_come_and_who_have_not_started() {
    let meter = Meter::new().max_at_once(2);
    let (a, b) = (meter.acquire().await, meter.acquire().await);
    let (mut c, mut d) = (pin!(meter.acquire()), pin!(meter.acquire()));
    assert!(futures_util::poll!(&mut c).is_pending());
    assert!(futures_util::poll!(&mut d).is_pending());
    drop(a);
    meter.set_max_at_once(1);
    assert!(futures_util::poll!(&mut d).is_pending());
    assert!(futures_util::poll!(&mut c).is_pending());
    drop(b);
    assert!(futures_util::poll!(&mut d).is_pending(), "it came after the other");
    drop(c.await);
    drop(d.await);
    assert_eq!(meter.stats().finished, 4);
}

#[tokio::test(start_paused = true)]
async fn a_lower_rate_is_for_those_who_wait() {
    let watch = Watch::default();
    let meter = Meter::new().max_per_second(100.0);
    let waiting = (0..4).map(|_| async {
        let _permit = meter.acquire().await;
        watch.clone().job(ms(0)).await;
    });
    tokio::join!(futures_util::future::join_all(waiting), async {
        sleep(ms(15)).await;
        meter.set_max_per_second(10.0);
    });
    assert_eq!(watch.starts(), [0, 10, 110, 210]);
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_back_those_who_wait_and_those_who_come() {
    let watch = Watch::default();
    let begin = Instant::now();
    let meter = Meter::new().max_at_once(2).max_per_second(100.0).burst(9);
    let early = meter.run_all(watch.jobs(11, ms(5)));
    let late = async {
        sleep_until(begin + ms(7)).await;
        meter.pause_until(begin + ms(1_000));
        meter.pause_until(begin + ms(500));
        sleep_until(begin + ms(600)).await;
        drop(meter.acquire().await);
    };
    tokio::join!(early, late);
    let starts = watch.starts();
    assert_eq!(starts[..4], [0, 0, 5, 5]);
    assert!(starts[4..].iter().all(|start| *start >= 1_000), "{starts:?}");
    assert!(starts[5..].windows(2).all(|pair| pair[1] - pair[0] >= 10), "{starts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_pause_holds_back_those_whose_turn_has_come_and_who_were_not_polled_yet() {
    let begin = Instant::now();
    let meter = Meter::new().max_at_once(1);
    let permit = meter.acquire().await;
    let mut next = pin!(meter.acquire());
    assert!(futures_util::poll!(&mut next).is_pending());
    drop(permit);
    meter.pause_until(begin + ms(100));
    drop(next.await);
    assert_eq!(begin.elapsed(), ms(100));
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_when_its_start_has_come_leaves_it_to_the_next() {
    let meter = Meter::new().max_per_second(1.0);
    drop(meter.acquire().await);
    let (mut second, mut third) = (ByHand::new(meter.acquire()), ByHand::new(meter.acquire()));
    second.pending();
    third.pending();
    advance(ms(1_000)).await;
    // Lets the second in, which is not polled any more.
    third.pending();
    drop(second);
    assert!(third.is_woken());
    drop(third.ready());
}

#[tokio::test(start_paused = true)]
async fn nobody_overtakes_a_waiter_whose_start_has_come() {
    let meter = Meter::new().max_per_second(1.0);
    drop(meter.acquire().await);
    let mut second = ByHand::new(meter.acquire());
    second.pending();
    advance(ms(1_000)).await;
    assert!(meter.try_acquire().is_none());
    drop(second.ready());
}

#[tokio::test(start_paused = true)]
async fn without_a_rate_a_pause_lets_all_go_at_its_end() {
    let watch = Watch::default();
    let meter = Meter::new().max_at_once(3);
    meter.pause_until(Instant::now() + ms(70));
    meter.run_all(watch.jobs(4, ms(10))).await;
    assert_eq!(watch.starts(), [70, 70, 70, 80]);
}

#[tokio::test(start_paused = true)]
async fn waiters_are_woken_once_for_each_start_however_many_they_are() {
    // One poll to lie down and one to start, and no more.
    const WAITERS: usize = 2_000;
    let meter = Meter::new().max_per_second(1_000.0);
    let polls = Rc::new(Cell::new(0));
    let tasks = tokio::task::LocalSet::new();
    for _ in 0..WAITERS {
        let (meter, polls) = (meter.clone(), Rc::clone(&polls));
        tasks.spawn_local(async move {
            let mut acquire = pin!(meter.acquire());
            std::future::poll_fn(|cx| {
                polls.set(polls.get() + 1);
                acquire.as_mut().poll(cx)
            })
            .await
        });
    }
    tasks.await;
    assert!(polls.get() <= 2 * WAITERS, "{} polls", polls.get());
}

#[test]
fn limits_that_are_none_are_refused_by_name_wherever_they_are_given() {
    fn refusal(give: impl FnOnce() + std::panic::UnwindSafe) -> String {
        let panic = std::panic::catch_unwind(give).expect_err("it is no limit");
        panic.downcast_ref::<String>().cloned().unwrap_or_else(|| {
            (*panic.downcast_ref::<&str>().expect("a panic has a message")).to_owned()
        })
    }
    for refused in
        [refusal(|| drop(Meter::new().max_at_once(0))), refusal(|| Meter::new().set_max_at_once(0))]
    {
        assert!(refused.contains("`max_at_once`"), "{refused}");
    }
    for rate in [0.0, -0.0, -1.0, f64::INFINITY, f64::NEG_INFINITY, f64::NAN] {
        for refused in [
            refusal(move || drop(Meter::new().max_per_second(rate))),
            refusal(move || Meter::new().set_max_per_second(rate)),
        ] {
            assert!(refused.contains("`max_per_second`"), "{refused}");
        }
    }
    assert!(refusal(|| drop(Meter::new().burst(0))).contains("`burst`"));
}
