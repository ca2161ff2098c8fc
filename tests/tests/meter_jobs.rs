//! The ways to run jobs, and the ways out: ends, errors, panics and drops.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn, ready};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::{FutureExt as _, Stream as _, StreamExt as _, stream};
use reducer_core::Meter;
use reducer_tests::allocations::{Counting, allocations};
use reducer_tests::{ByHand, Count, DropCounts, Gate, settle};
use tokio::time::{Instant, sleep};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn nap(length: u64) -> u64 {
    sleep(ms(length)).await;
    length
}

#[tokio::test]
async fn run_on_each_calls_once_for_every_item_duplicates_too() {
    let calls = RefCell::new(Vec::new());
    let () = Meter::new().run_on_each([1, 2, 2, 3], async |n| calls.borrow_mut().push(n)).await;
    assert_eq!(calls.into_inner(), [1, 2, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn run_all_keeps_the_order_of_the_input_whoever_is_slow() {
    let meter = Meter::new().max_at_once(2);
    assert_eq!(meter.run_all([30, 10, 40, 20].map(nap)).await, [30, 10, 40, 20]);
    assert_eq!(meter.run_all([0; 0].map(nap)).await, [0; 0]);
    let spawned = meter.spawned();
    assert_eq!(spawned.run_all([30, 10, 40, 20].map(nap)).await, [30, 10, 40, 20]);
}

#[tokio::test(start_paused = true)]
async fn amap_gives_results_as_jobs_end_and_knows_how_many_are_left() {
    let meter = Meter::new().max_at_once(2);
    let mut naps = meter.amap([30, 10, 5, 20], nap);
    for (left, expected) in [(4, 10), (3, 5), (2, 30), (1, 20)] {
        assert_eq!(naps.size_hint(), (left, Some(left)));
        assert_eq!(naps.next().await, Some(expected));
    }
    assert_eq!(naps.size_hint(), (0, Some(0)));
    assert_eq!(naps.next().await, None);
    assert_eq!(naps.next().await, None);
    let indexed: Vec<_> = meter.amap([30, 10, 5], nap).indexed().collect().await;
    assert_eq!(indexed, [(1, 10), (2, 5), (0, 30)]);
}

#[test]
fn nothing_runs_that_is_not_polled() {
    let meter = Meter::new();
    let runs = Count::new();
    let job = |_: u32| {
        runs.add();
        ready(())
    };
    let all = meter.run_on_each([1, 2], job);
    let mut results = meter.amap([1, 2], job);
    let permit = meter.acquire();
    assert_eq!((runs.get(), meter.stats().started), (0, 0));
    drop((all, permit));
    assert_eq!(results.next().now_or_never(), Some(Some(())));
    drop(results);
    assert_eq!(runs.get(), 1);
}

#[tokio::test(start_paused = true)]
async fn run_any_drops_the_losers_and_starts_no_more() {
    let dropped = Count::new();
    let begin = Instant::now();
    let racers = [40, 10, 1_000].map(|length| {
        let guard = DropCounts(dropped.clone());
        async move {
            let _guard = guard;
            nap(length).await
        }
    });
    assert_eq!(Meter::new().run_any(racers).await, Some(10));
    assert_eq!((begin.elapsed(), dropped.get()), (ms(10), 3));

    let meter = Meter::new().max_at_once(1);
    assert_eq!(meter.run_any((0..10).map(nap)).await, Some(0));
    assert_eq!(meter.stats().started, 1);
    assert_eq!(meter.run_any([0; 0].map(nap)).await, None);
}

#[tokio::test(start_paused = true)]
async fn run_any_ok_gives_the_first_success_or_every_error() {
    let meter = Meter::new().max_at_once(2);
    let ask = |n: u64| async move { if nap(n).await % 7 == 0 { Ok(n) } else { Err(n) } };
    assert_eq!(meter.run_any_ok([3, 14, 7].map(ask)).await, Ok(7));
    assert_eq!(meter.run_any_ok([3, 2, 1].map(ask)).await, Err(vec![3, 2, 1]));
    assert_eq!(meter.run_any_ok([0; 0].map(ask)).await, Err(vec![]));
    let stats = meter.stats();
    assert_eq!((stats.started, stats.finished, stats.failed), (6, 1, 5));
}

#[tokio::test(start_paused = true)]
async fn an_error_ends_the_try_forms_and_drops_the_rest() {
    let meter = Meter::new().max_at_once(2);
    let dropped = Count::new();
    let job = |n: u64| {
        let guard = DropCounts(dropped.clone());
        async move {
            let _guard = guard;
            if nap(n).await == 10 { Err("ten") } else { Ok(n) }
        }
    };
    assert_eq!(meter.try_run_all([30, 10, 20].map(job)).await, Err("ten"));
    assert_eq!(meter.try_run_on_each([30, 10, 20], job).await, Err("ten"));
    assert_eq!(meter.spawned().try_run_on_each([30, 10, 20], job).await, Err("ten"));
    tokio::task::yield_now().await;
    let stats = meter.stats();
    assert_eq!((stats.started, stats.running, stats.finished, stats.failed), (6, 0, 0, 6));
    assert_eq!(meter.try_run_all([3, 1].map(job)).await, Ok(vec![3, 1]));
    assert_eq!(meter.try_run_on_each([3, 1], job).await, Ok(()));
}

#[tokio::test(start_paused = true)]
async fn every_form_takes_a_stream() {
    let meter = Meter::new().max_at_once(2);
    let slow = || stream::iter([3, 1, 2]).then(async |n| nap(n).await);
    let ok = |n| async move { Ok::<_, ()>(nap(n).await) };
    let ran = Count::new();
    let count = async |_| {
        ran.add();
    };
    meter.run_on_each_stream(slow(), count).await;
    assert_eq!(ran.get(), 3);
    assert_eq!(meter.run_all_stream(slow().map(nap)).await, [3, 1, 2]);
    assert_eq!(meter.amap_stream(slow(), nap).collect::<Vec<_>>().await.len(), 3);
    assert_eq!(meter.run_any_stream(slow().map(nap)).await, Some(1));
    assert_eq!(meter.try_run_all_stream(slow().map(ok)).await, Ok(vec![3, 1, 2]));
    assert_eq!(meter.try_run_on_each_stream(slow(), ok).await, Ok(()));
    assert_eq!(meter.run_any_ok_stream(slow().map(ok)).await, Ok(1));
}

#[test]
fn input_is_pulled_one_ahead_of_the_limit() {
    let meter = Meter::new().max_at_once(3);
    let pulled = Count::new();
    let gate = Gate::new();
    let items = (0..10).inspect(|_| {
        pulled.add();
    });
    let mut all = ByHand::new(meter.run_on_each(items, |_| gate.pass()));
    all.pending();
    assert_eq!((pulled.get(), meter.stats().running, meter.stats().waiting), (4, 3, 1));
    gate.open();
    all.pending();
    assert_eq!((pulled.get(), meter.stats().started), (5, 4));
    (0..9).for_each(|_| gate.open());
    let Some(Some(())) = settle(std::slice::from_mut(&mut all)).pop() else {
        panic!("all gates are open");
    };
}

#[test]
fn a_million_items_cost_what_ten_cost() {
    let meter = Meter::new().max_at_once(64);
    let run = |items: u64| {
        let mut all = pin!(meter.run_on_each(0..items, |n| async move {
            let mut left = n % 2;
            poll_fn(|cx| {
                if left == 0 {
                    return Poll::Ready(());
                }
                left -= 1;
                cx.waker().wake_by_ref();
                Poll::Pending
            })
            .await;
        }));
        let mut cx = Context::from_waker(Waker::noop());
        allocations(|| while all.as_mut().poll(&mut cx).is_pending() {}).0
    };
    run(1_000);
    let (few, many) = (run(10_000), run(1_000_000));
    assert_eq!(few, many);
    assert_eq!(meter.stats().finished, 1_011_000);
}

#[tokio::test(start_paused = true)]
async fn a_job_that_panics_gives_its_place_back_and_the_others_go_on() {
    let meter = Meter::new().max_at_once(2);
    let mut naps = meter.amap([5, 1, 2, 3], |length| async move {
        assert_ne!(nap(length).await, 2, "two");
        length
    });
    assert_eq!(naps.next().await, Some(1));
    let panic = AssertUnwindSafe(naps.next()).catch_unwind().await.unwrap_err();
    assert!(panic.downcast_ref::<String>().unwrap().contains("two"));
    assert_eq!(meter.stats().failed, 1);
    assert_eq!(naps.next().await, Some(5));
    assert_eq!(naps.next().await, Some(3));
    assert_eq!(naps.next().await, None);
    assert_eq!(meter.stats().running, 0);
}

#[test]
fn whoever_of_the_users_code_panics_the_places_are_free() {
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    let meter = Meter::new().max_at_once(2);
    let by = |run: &dyn Fn()| {
        assert!(catch_unwind(AssertUnwindSafe(run)).is_err());
        assert_eq!((meter.stats().running, meter.stats().waiting), (0, 0));
        let (a, b) = (meter.try_acquire(), meter.try_acquire());
        assert!(a.is_some() && b.is_some());
    };
    // The iterator, the closure, the future, its destructor, its result's; a permit's holder.
    by(&|| {
        let items = (0..3).inspect(|n| assert_ne!(*n, 2));
        meter.run_on_each(items, |_| std::future::pending::<()>()).now_or_never();
    });
    by(&|| {
        let job = |n| {
            assert_ne!(n, 1);
            std::future::pending::<()>()
        };
        meter.run_on_each(0..3, job).now_or_never();
    });
    by(&|| {
        meter.run_on_each(0..3, async |n| assert_ne!(n, 1)).now_or_never();
    });
    by(&|| {
        let job = |_| {
            let guard = PanicsInDrop;
            async move {
                let _guard = guard;
                std::future::pending::<()>().await;
            }
        };
        meter.run_any([job(0)]).now_or_never();
    });
    by(&|| {
        meter.run_on_each(0..3, async |_| PanicsInDrop).now_or_never();
    });
    by(&|| {
        let _permit = meter.try_acquire();
        panic!("with a permit");
    });
}

#[test]
fn a_waker_that_panics_harms_nobody_else() {
    struct Panics;
    impl Wake for Panics {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    let meter = Meter::new().max_at_once(1);
    let permit = meter.try_acquire();
    let panics = Waker::from(Arc::new(Panics));
    let mut first = Box::pin(meter.acquire());
    assert!(first.as_mut().poll(&mut Context::from_waker(&panics)).is_pending());
    let mut second = ByHand::new(meter.acquire());
    second.pending();
    drop(permit);
    drop(first);
    assert!(second.is_woken());
    drop(second.ready());
    assert_eq!(meter.stats().finished, 2);
}

#[tokio::test(start_paused = true)]
async fn a_caller_who_leaves_makes_room_for_the_next() {
    let meter = Meter::new().max_at_once(1);
    let permit = meter.acquire().await;
    let mut waiting: Vec<_> = (0..4).map(|_| ByHand::new(meter.acquire())).collect();
    waiting.iter_mut().for_each(|caller| {
        caller.pending();
    });
    assert_eq!(meter.stats().waiting, 4);
    drop(waiting.remove(1)); // in the middle of the line
    drop(permit);
    assert!(waiting[0].is_woken());
    drop(waiting.remove(0)); // called, and gone
    assert!(waiting[0].is_woken() && !waiting[1].is_woken());
    drop(waiting[0].ready());
    drop(waiting[1].ready());
    assert_eq!((meter.stats().waiting, meter.stats().running), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_waiter_leaves_goes_to_the_next() {
    let meter = Meter::new().max_per_second(10.0);
    let begin = Instant::now();
    let acquire = async |patience: u64| {
        let permit = tokio::time::timeout(ms(patience), meter.acquire()).await;
        permit.ok().map(|_| begin.elapsed().as_millis())
    };
    // The second gives up before its time; who comes after it moves up.
    let starts = tokio::join!(acquire(900), acquire(50), acquire(150), acquire(900), acquire(900));
    assert_eq!(starts, (Some(0), None, Some(100), Some(200), Some(300)));
    assert_eq!(acquire(900).await, Some(400));
    // Called, and gone before it was polled: as if it had never asked.
    let mut called = ByHand::new(meter.acquire());
    called.pending();
    tokio::time::advance(ms(100)).await;
    drop(meter.try_acquire());
    let mut behind = ByHand::new(meter.acquire());
    behind.pending();
    drop(called);
    assert!(behind.is_woken());
    drop(behind.ready());
}

#[tokio::test(start_paused = true)]
async fn a_caller_that_is_not_polled_keeps_no_other_from_its_start() {
    let meter = Meter::new().max_per_second(100.0);
    drop(meter.acquire().await);
    let mut idle = ByHand::new(meter.acquire());
    idle.pending();
    let begin = Instant::now();
    drop(meter.acquire().await);
    // Its own start was due at 20; what the idle one has made late beyond the tolerance is written off.
    assert_eq!(begin.elapsed(), ms(25));
    drop(idle.ready());
}

#[tokio::test(start_paused = true)]
async fn a_hundred_thousand_cancelled_waits_leave_nothing_behind() {
    let meter = Meter::new().max_at_once(1).max_per_second(1.0);
    let permit = meter.acquire().await;
    for _ in 0..100 {
        let mut waiting: Vec<_> = (0..1_000).map(|_| Box::pin(meter.acquire())).collect();
        let mut cx = Context::from_waker(Waker::noop());
        assert!(waiting.iter_mut().all(|wait| wait.as_mut().poll(&mut cx).is_pending()));
    }
    assert_eq!(meter.stats().waiting, 0);
    drop(permit);
    let begin = Instant::now();
    drop(meter.acquire().await);
    assert_eq!(begin.elapsed(), ms(1_000), "no start was spent on them");
}

#[tokio::test(start_paused = true)]
async fn in_task_jobs_stand_still_while_the_consumer_is_busy_and_spawned_ones_do_not() {
    // futures-rs#2387: the first result takes the consumer 100 ms, the second job has slept 1 of its 20 by then.
    for (is_spawned, expected) in [(false, [1, 121]), (true, [1, 101])] {
        let meter = Meter::new().max_at_once(2);
        let begin = Instant::now();
        let job = |length: u64| async move {
            for _ in 0..length {
                sleep(ms(1)).await;
            }
        };
        let seen = RefCell::new(Vec::new());
        let consume = async |()| {
            seen.borrow_mut().push(begin.elapsed().as_millis());
            sleep(ms(100)).await;
        };
        match is_spawned {
            false => meter.amap([1, 20], job).for_each(consume).await,
            true => meter.spawned().amap([1, 20], job).for_each(consume).await,
        }
        let seen = seen.into_inner();
        assert!(seen[0] == expected[0] && seen[1].abs_diff(expected[1]) <= 1, "{seen:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn spawned_jobs_give_their_places_back_though_nobody_looks() {
    let meter = Meter::new().max_at_once(2);
    let mut naps = meter.spawned().amap([1, 10, 10], nap);
    assert_eq!(naps.next().await, Some(1));
    sleep(ms(100)).await;
    assert_eq!((meter.stats().running, meter.stats().finished), (0, 2));
    // Dropped, the rest are aborted.
    assert!(futures_util::poll!(naps.next()).is_ready());
    assert!(futures_util::poll!(naps.next()).is_pending());
    assert_eq!(meter.stats().running, 1);
    drop(naps);
    tokio::task::yield_now().await;
    assert_eq!((meter.stats().running, meter.stats().failed), (0, 1));
}

#[tokio::test(start_paused = true)]
async fn a_slow_consumer_of_spawned_jobs_refills_a_place_for_every_result() {
    let meter = Meter::new().max_at_once(2);
    let mut naps = meter.spawned().amap([10; 5], nap);
    let mut started = Vec::new();
    while naps.next().await.is_some() {
        sleep(ms(100)).await; // all that have started end meanwhile
        started.push(meter.stats().started);
    }
    assert_eq!(started, [2, 3, 4, 5, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn spawned_jobs_of_many_callers_on_many_threads_never_pass_the_limit() {
    let meter = Meter::new().max_at_once(7);
    let running = Arc::new(AtomicUsize::new(0));
    let most = Arc::new(AtomicUsize::new(0));
    let callers = (0..8).map(|_| {
        let (meter, running, most) = (meter.clone(), Arc::clone(&running), Arc::clone(&most));
        tokio::spawn(async move {
            let job = |n: u32| {
                let (running, most) = (Arc::clone(&running), Arc::clone(&most));
                async move {
                    most.fetch_max(running.fetch_add(1, SeqCst) + 1, SeqCst);
                    if n.is_multiple_of(3) {
                        tokio::task::yield_now().await;
                    }
                    running.fetch_sub(1, SeqCst);
                }
            };
            tokio::join!(
                meter.spawned().run_on_each(0..2_000, job),
                meter.run_on_each(0..2_000, job)
            );
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert!(most.load(SeqCst) <= 7, "{} at once", most.load(SeqCst));
    let stats = meter.stats();
    assert_eq!((stats.finished, stats.running, stats.waiting), (32_000, 0, 0));
}

#[tokio::test]
async fn ready_jobs_without_end_let_other_tasks_live() {
    let meter = Meter::new();
    let is_over = Cell::new(false);
    let endless = meter.run_on_each(0u64.., |_| ready(()));
    tokio::select! {
        () = endless => unreachable!("there is no end"),
        () = async {
            for _ in 0..100 {
                tokio::task::yield_now().await;
            }
            is_over.set(true);
        } => {}
    }
    assert!(is_over.get());
}

#[tokio::test(start_paused = true)]
async fn keyed_meters_are_apart_and_go_when_they_are_idle() {
    let hosts = Meter::keyed(|_: &String| Meter::new().max_at_once(1).max_per_second(10.0));
    let begin = Instant::now();
    let visit = async |host: &str| {
        let _permit = hosts.acquire(host.to_owned()).await;
        begin.elapsed().as_millis()
    };
    let visits = tokio::join!(visit("a"), visit("b"), visit("a"), visit("b"));
    assert_eq!(visits, (0, 0, 100, 100));
    // A start was spent a moment ago: a new meter would not know.
    assert_eq!(hosts.len(), 2);
    sleep(ms(100)).await;
    assert!(hosts.is_empty());
    for n in 0..10_000 {
        drop(hosts.acquire(n.to_string()).await);
        sleep(ms(1)).await;
    }
    assert!(hosts.len() <= 100, "{} are left", hosts.len());
}

#[test]
fn no_runtime_is_needed_where_nothing_waits_for_a_clock() {
    let meter = Meter::new().max_at_once(3);
    assert_eq!(pollster::block_on(meter.run_all((0..9).map(|n| async move { n }))).len(), 9);
}

#[test]
fn a_clock_that_goes_back_with_its_runtime_hangs_nobody() {
    let meter = Meter::new().max_per_second(10.0);
    for _ in 0..3 {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap();
        runtime.block_on(async {
            sleep(Duration::from_secs(86_400)).await;
            let begin = Instant::now();
            for _ in 0..3 {
                drop(meter.acquire().await);
            }
            assert!(begin.elapsed() <= ms(300), "{:?}", begin.elapsed());
        });
    }
}
