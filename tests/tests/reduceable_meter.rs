//! `#[reduceable(meter = ..)]`: a flight takes a place and a start, those who join it take none.

use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use futures_util::future::join_all;
use reducer_core::{Meter, Reducer, SharedError, reduceable};
use reducer_tests::panics;
use tokio::time::{Instant, sleep, timeout};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

#[tokio::test(start_paused = true)]
async fn a_flight_takes_a_place_and_followers_take_none() {
    static METER: LazyLock<Meter> = LazyLock::new(|| Meter::new().max_at_once(2));
    static RUNNING: AtomicUsize = AtomicUsize::new(0);
    static MOST: AtomicUsize = AtomicUsize::new(0);

    #[reduceable(meter = METER)]
    async fn page(id: u64, host: &str) -> String {
        MOST.fetch_max(RUNNING.fetch_add(1, SeqCst) + 1, SeqCst);
        sleep(ms(10)).await;
        RUNNING.fetch_sub(1, SeqCst);
        format!("{host}/{id}")
    }

    let begin = Instant::now();
    let pages = join_all((0..600).map(|n| page(n % 6, "a"))).await;
    assert!(pages.iter().zip((0..6).cycle()).all(|(page, id)| *page == format!("a/{id}")));
    let stats = METER.stats();
    assert_eq!((stats.started, stats.finished, stats.running), (6, 6, 0));
    assert_eq!((MOST.load(SeqCst), begin.elapsed()), (2, ms(30)));
}

#[tokio::test(start_paused = true)]
async fn a_flight_takes_a_start() {
    static METER: LazyLock<Meter> = LazyLock::new(|| Meter::new().max_per_second(10.0));

    #[reduceable(meter = METER)]
    async fn start(id: u64, begin: Instant) -> Duration {
        let start = begin.elapsed();
        sleep(ms(1_000 + id)).await;
        start
    }

    let begin = Instant::now();
    let starts = join_all((0..9).map(|n| start(n % 3, begin))).await;
    assert_eq!(starts[..3], [ms(0), ms(100), ms(200)]);
    assert_eq!((&starts[3..6], &starts[6..]), (&starts[..3], &starts[..3]));
}

#[tokio::test(start_paused = true)]
async fn callers_who_leave_give_the_place_back() {
    static METER: LazyLock<Meter> = LazyLock::new(|| Meter::new().max_at_once(1));

    #[reduceable(meter = METER)]
    async fn slow(id: u64) -> u64 {
        sleep(ms(100)).await;
        id
    }

    // One runs, one waits for its place; both are left by all.
    let left = tokio::join!(timeout(ms(10), slow(1)), timeout(ms(10), slow(2)));
    assert!(left.0.is_err() && left.1.is_err());
    let stats = METER.stats();
    assert_eq!((stats.running, stats.waiting, stats.failed + stats.finished), (0, 0, 1));
    assert_eq!(slow(3).await, 3);
}

#[tokio::test]
async fn a_panic_gives_the_place_back() {
    static METER: LazyLock<Meter> = LazyLock::new(|| Meter::new().max_at_once(1));

    #[reduceable(meter = METER)]
    async fn fails(id: u64) -> u64 {
        assert_ne!(id, 7, "not seven");
        id
    }

    let message = panics(|| pollster::block_on(fails(7)));
    assert!(message.contains("not seven"), "{message}");
    assert_eq!((METER.stats().running, METER.stats().failed), (0, 1));
    assert_eq!(fails(8).await, 8);
}

#[derive(Clone)]
struct Api {
    meter: Meter,
    reducer: Reducer,
}

impl Api {
    #[reduceable(reducer = self.reducer, meter = self.meter)]
    async fn get(&self, id: u64) -> u64 {
        tokio::task::yield_now().await;
        id
    }

    #[reduceable(skip(self, by), meter = by.clone())]
    async fn get_by(self, by: Meter, id: u64) -> u64 {
        drop((self, by));
        id
    }
}

#[reduceable(key = id, meter = meter)]
async fn taken_apart((meter, id): (Meter, u64)) -> u64 {
    drop(meter);
    id
}

#[reduceable(skip(meter), meter = meter, timeout = "1s")]
async fn with_a_timeout(meter: &Meter, id: u64) -> Result<u64, SharedError> {
    let _ = meter;
    Ok(id)
}

#[tokio::test(start_paused = true)]
async fn the_meter_is_any_expression_over_the_arguments() {
    let api = Api { meter: Meter::new().max_at_once(1), reducer: Reducer::new() };
    assert_eq!(tokio::join!(api.get(1), api.get(1), api.get(2)), (1, 1, 2));
    assert_eq!(api.meter.stats().started, 2);
    let other = Meter::new();
    assert_eq!(api.clone().get_by(other.clone(), 3).await, 3);
    assert_eq!(taken_apart((other.clone(), 4)).await, 4);
    assert_eq!(with_a_timeout(&other, 5).await.unwrap(), 5);
    assert_eq!((other.stats().finished, api.meter.stats().started), (3, 2));
}

/// What we call ours is not what the user has called unused.
#[reduceable(meter = meter, key = id)]
async fn with_a_permit(id: u64, _permit: u64, meter: &Meter) -> u64 {
    id + _permit
}

#[tokio::test]
async fn an_argument_may_be_called_a_permit() {
    let meter = Meter::new().max_at_once(1);
    assert_eq!(with_a_permit(1, 3, &meter).await, 4);
    assert_eq!(meter.stats().finished, 1);
}

#[tokio::test(start_paused = true)]
async fn the_timeout_of_a_flight_counts_its_wait_for_a_place() {
    let meter = Meter::new().max_at_once(1);
    let _permit = meter.acquire().await;
    let begin = Instant::now();
    assert!(with_a_timeout(&meter, 6).await.is_err());
    assert_eq!((begin.elapsed(), meter.stats().waiting), (Duration::from_secs(1), 0));
}
