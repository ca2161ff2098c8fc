//! What a metered job costs beside what else there is, and how well rates are kept.
//!
//! All contenders of a workload take turns in every round, on CPU time, and the medians are shown as
//! ratios to the first. `-- --smoke` runs each once. Rates are on the real clock.

use std::cell::RefCell;
use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use benches::{Args, Contest, cpu_ns};
use futures_util::{StreamExt, stream};
use reducer_core::Meter;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, LocalSet};

#[cfg(feature = "peers")]
mod peers;

const LIMIT: usize = 64;

/// Suspends so often, having woken itself.
struct Job {
    suspensions: u32,
    value: u64,
}

impl Future for Job {
    type Output = u64;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<u64> {
        if self.suspensions == 0 {
            return Poll::Ready(black_box(self.value));
        }
        self.suspensions -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().enable_time().build().expect("a runtime can be built")
}

/// Runs it on a runtime of its own.
fn on_runtime<F: Future>(mut run: impl FnMut() -> F) -> impl FnMut() {
    let runtime = current_thread();
    move || {
        runtime.block_on(run());
    }
}

/// J: so many jobs whose results nobody wants.
fn each(title: &'static str, jobs: u64, suspensions: u32) -> Contest {
    let job = move |value| Job { suspensions, value };
    let shared = Meter::new().max_at_once(LIMIT);
    let spawned = Meter::new().max_at_once(LIMIT);
    Contest::new(title)
        .with(
            "for_each_concurrent",
            on_runtime(move || async move {
                let jobs = stream::iter(0..jobs);
                StreamExt::for_each_concurrent(
                    jobs,
                    LIMIT,
                    |value| async move { _ = job(value).await },
                )
                .await;
            }),
        )
        .with(
            "run_on_each",
            on_runtime(move || {
                let meter = Meter::new().max_at_once(LIMIT);
                async move { meter.run_on_each(0..jobs, job).await }
            }),
        )
        .with(
            "run_on_each, two lists, one meter",
            on_runtime(move || {
                let meter = shared.clone();
                async move {
                    let half = || meter.run_on_each(0..jobs / 2, job);
                    futures_util::future::join(half(), half()).await;
                }
            }),
        )
        .with(
            "spawned().run_on_each",
            on_runtime(move || {
                let meter = spawned.clone();
                async move { meter.spawned().run_on_each(0..jobs, job).await }
            }),
        )
        .with(
            "JoinSet + Semaphore",
            on_runtime(move || async move {
                let places = Arc::new(Semaphore::new(LIMIT));
                let mut tasks = JoinSet::new();
                for value in 0..jobs {
                    let place = Arc::clone(&places).acquire_owned().await;
                    tasks.spawn(async move {
                        let _place = place;
                        job(value).await
                    });
                    while tasks.try_join_next().is_some() {}
                }
                while tasks.join_next().await.is_some() {}
            }),
        )
}

async fn drain(mut results: impl futures_util::Stream<Item = u64> + Unpin) {
    while let Some(result) = results.next().await {
        black_box(result);
    }
}

/// A: so many jobs, results as they come.
fn streams(title: &'static str, jobs: u64, suspensions: u32) -> Contest {
    let job = move |value| Job { suspensions, value };
    let input = move || stream::iter(0..jobs).map(job);
    let contest = Contest::new(title)
        .with("buffer_unordered", on_runtime(move || drain(input().buffer_unordered(LIMIT))))
        .with("amap", on_runtime(move || drain(Meter::new().max_at_once(LIMIT).amap(0..jobs, job))))
        .with("buffered", on_runtime(move || drain(input().buffered(LIMIT))))
        .with(
            "run_all, which collects",
            on_runtime(move || async move {
                let meter = Meter::new().max_at_once(LIMIT);
                black_box(meter.run_all((0..jobs).map(job)).await);
            }),
        );
    #[cfg(feature = "peers")]
    let contest = peers::streams(contest, jobs, suspensions);
    contest
}

/// How starts came, in a row of the table.
struct Pace {
    starts: Vec<Instant>,
    cpu: f64,
}

impl Pace {
    fn print(mut self, name: &str, asked: u32) {
        self.starts.sort();
        let Self { starts, cpu } = self;
        let jobs = starts.len() - 1;
        let took = (starts[jobs] - starts[0]).as_secs_f64();
        let most = starts
            .iter()
            .enumerate()
            .map(|(n, start)| {
                let within = |other: &&Instant| **other - *start < Duration::from_millis(1);
                starts[n..].iter().take_while(within).count()
            })
            .max();
        let percent = jobs as f64 / took / f64::from(asked) * 100.0;
        let each = cpu / 1e3 / jobs as f64;
        println!(
            "  {name:<34} {percent:>6.1} %   {:>3} at most in 1 ms   {each:>6.1} µs CPU a start",
            most.unwrap_or(0)
        );
    }
}

/// So many callers, each of which waits for a start again and again, until `jobs` have started.
fn pace<F>(callers: usize, jobs: u32, wait: impl Fn() -> F + 'static) -> Pace
where
    F: Future<Output = ()> + 'static,
{
    let runtime = current_thread();
    let before = cpu_ns();
    let starts = Rc::new(RefCell::new(Vec::new()));
    let wait = Rc::new(wait);
    let tasks = LocalSet::new();
    for caller in 0..callers as u32 {
        let (starts, wait) = (Rc::clone(&starts), Rc::clone(&wait));
        tasks.spawn_local(async move {
            for _ in (caller..=jobs).step_by(callers) {
                wait().await;
                starts.borrow_mut().push(Instant::now());
            }
        });
    }
    runtime.block_on(tasks);
    Pace { starts: starts.take(), cpu: cpu_ns() - before }
}

fn rates(asked: u32, seconds: f64, callers: usize) {
    println!("\nR  {asked} per second asked, {callers} callers");
    let jobs = (f64::from(asked) * seconds) as u32;
    let meter = Meter::new().max_per_second(asked.into());
    pace(callers, jobs, move || {
        let meter = meter.clone();
        async move { drop(meter.acquire().await) }
    })
    .print("Meter", asked);
    #[cfg(feature = "peers")]
    peers::rates(asked, jobs, callers);
}

fn main() {
    let args = Args::new();
    let (scale, seconds) = if args.smoke { (100, 0.1) } else { (1, 3.0) };
    let contests = [
        each("J1  each of 100,000 jobs, ready at once, 64 at once", 100_000 / scale, 0),
        each("J2  each of 100,000 jobs that suspend once, 64 at once", 100_000 / scale, 1),
        streams("A1  results of 100,000 jobs, ready at once, 64 at once", 100_000 / scale, 0),
        streams("A2  results of 100,000 jobs that suspend once, 64 at once", 100_000 / scale, 1),
    ];
    for contest in contests {
        args.run(contest);
    }
    if args.want("R") {
        for asked in [100, 1_000, 5_000] {
            rates(asked, seconds, 1);
        }
        rates(1_000, seconds, 200);
    }
}
