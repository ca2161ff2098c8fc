//! What a flight costs beside the least it could cost, and beside what else there is.
//!
//! All contenders of a workload take turns in every round, on CPU time, and the medians are shown as
//! ratios to the first. `-- --smoke` runs each once.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::task::{Poll, Waker};

use benches::Contest;
use benches::floor::Floor;
use benches::work::{drive, work};
use futures_util::future::{FutureExt as _, Shared};
use parking_lot::Mutex;
use reducer_core::{Reducer, reduceable};
use tokio::runtime::{Builder, Runtime};

/// What one would write by hand, to survive the leader.
type Boxed = Pin<Box<dyn Future<Output = Arc<u64>> + Send>>;

#[derive(Default)]
struct SharedMap(Mutex<HashMap<u64, Shared<Boxed>>>);

impl SharedMap {
    async fn call(
        &self,
        key: u64,
        work: impl Future<Output = Arc<u64>> + Send + 'static,
    ) -> Arc<u64> {
        let shared = {
            let mut rows = self.0.lock();
            rows.entry(key).or_insert_with(|| (Box::pin(work) as Boxed).shared()).clone()
        };
        let value = shared.await;
        self.0.lock().remove(&key);
        value
    }
}

#[reduceable]
async fn by_attribute(key: u64, suspensions: u32) -> Arc<u64> {
    work(key, suspensions).await
}

/// W1 and W2: one caller, a key of its own each time.
fn uncontended(title: &'static str, suspensions: u32, calls: u64) -> Contest {
    let floor = Floor::default();
    let reducer = Reducer::new();
    let boxing = Reducer::new();
    let shared = SharedMap::default();
    let runtime = current_thread();
    let each = move |mut call: Box<dyn FnMut(u64)>| move || (0..calls).for_each(&mut call);
    let contest = Contest::new(title)
        .with(
            "floor 2: hash, lock, insert, remove",
            each(Box::new(move |key| {
                black_box(drive(floor.call(key, work(key, suspensions))));
            })),
        )
        .with(
            "floor 1: the bare call",
            each(Box::new(move |key| {
                black_box(drive(work(key, suspensions)));
            })),
        )
        .with("floor 3: tokio::spawn of it", move || {
            runtime.block_on(async {
                for key in 0..calls {
                    black_box(tokio::spawn(work(key, suspensions)).await.ok());
                }
            });
        })
        .with(
            "reducer",
            each(Box::new(move |key| {
                black_box(drive(reducer.reduce(key, work(key, suspensions))));
            })),
        )
        .with(
            "reducer, work boxed apart",
            each(Box::new(move |key| {
                black_box(drive(boxing.reduce_with(key, || Box::pin(work(key, suspensions)))));
            })),
        )
        .with(
            "#[reduceable]",
            each(Box::new(move |key| {
                black_box(drive(by_attribute(key, suspensions)));
            })),
        )
        .with(
            "map of futures' Shared",
            each(Box::new(move |key| {
                black_box(drive(shared.call(key, work(key, suspensions))));
            })),
        );
    #[cfg(feature = "peers")]
    let contest = {
        let peer = singleflight_async::SingleFlight::<u64, Arc<u64>>::new();
        contest.with(
            "singleflight-async",
            each(Box::new(move |key| {
                black_box(drive(peer.work(key, || work(key, suspensions))));
            })),
        )
    };
    contest
}

fn current_thread() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime can be built")
}

/// Events that works wait for. Clones are the same.
#[derive(Clone, Default)]
struct Events(Arc<Mutex<(usize, Vec<Waker>)>>);

impl Events {
    fn happen(&self) {
        let wakers = {
            let mut state = self.0.lock();
            state.0 += 1;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// Waits for the `n`th event.
    fn nth(&self, n: usize) -> impl Future<Output = ()> + Send + use<> {
        let events = self.clone();
        poll_fn(move |cx| {
            let mut state = events.0.lock();
            if state.0 >= n {
                return Poll::Ready(());
            }
            state.1.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

async fn after_events(events: Events, n: usize) -> Arc<u64> {
    for n in 1..=n {
        events.nth(n).await;
    }
    Arc::new(7)
}

/// W3 and W4: so many tasks on one key, released by so many events from outside.
fn fan_in(title: &'static str, callers: usize, events: usize) -> Contest {
    /// Spawns the callers, lets them join, makes the events happen, and waits for all.
    fn crowd<F: Future + Send + 'static>(
        runtime: &Runtime,
        callers: usize,
        steps: usize,
        call: impl Fn(Events) -> F,
    ) where
        F::Output: Send,
    {
        runtime.block_on(async {
            let events = Events::default();
            let tasks: Vec<_> = (0..callers).map(|_| tokio::spawn(call(events.clone()))).collect();
            tokio::task::yield_now().await;
            for _ in 0..steps {
                events.happen();
                tokio::task::yield_now().await;
                tokio::task::yield_now().await;
            }
            for task in tasks {
                black_box(task.await.ok());
            }
        });
    }
    let runtime = || current_thread();
    let (bare, ours, attribute, shared) = (runtime(), runtime(), runtime(), runtime());
    let reducer = Reducer::new();
    let map = Arc::new(SharedMap::default());
    let contest = Contest::new(title)
        .with("bare waiters, woken once", move || {
            crowd(&bare, callers, events, |happened| async move { happened.nth(events).await });
        })
        .with("reducer", move || {
            crowd(&ours, callers, events, |happened| {
                let reducer = reducer.clone();
                async move { reducer.reduce_with(7u64, || after_events(happened, events)).await }
            });
        })
        .with("#[reduceable]", move || {
            crowd(&attribute, callers, events, |happened| hot(happened, events));
        })
        .with("map of futures' Shared", move || {
            crowd(&shared, callers, events, |happened| {
                let map = Arc::clone(&map);
                async move { map.call(7, after_events(happened, events)).await }
            });
        });
    #[cfg(feature = "peers")]
    let contest = {
        let peer = runtime();
        let flights = Arc::new(singleflight_async::SingleFlight::<u64, Arc<u64>>::new());
        contest.with("singleflight-async", move || {
            crowd(&peer, callers, events, |happened| {
                let flights = Arc::clone(&flights);
                async move { flights.work(7, || after_events(happened, events)).await }
            });
        })
    };
    contest
}

#[reduceable(key = ())]
async fn hot(events: Events, n: usize) -> Arc<u64> {
    after_events(events, n).await
}

/// W5: two workers, 64 tasks, keys by zipf's law; the work yields once.
fn zipf(title: &'static str, calls: usize) -> Contest {
    const KEYS: usize = 10_000;
    const TASKS: usize = 64;
    let weights: Vec<f64> = (1..=KEYS)
        .scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-0.99);
            Some(*sum)
        })
        .collect();
    let total = weights[KEYS - 1];
    let mut dice = 1u64;
    let keys: Arc<Vec<u64>> = Arc::new(
        (0..TASKS * calls)
            .map(|_| {
                dice = dice
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                let at = (dice >> 11) as f64 / (1u64 << 53) as f64 * total;
                weights.partition_point(|weight| *weight < at) as u64
            })
            .collect(),
    );
    fn tasks<F: Future<Output = Arc<u64>> + Send + 'static>(
        keys: &Arc<Vec<u64>>,
        call: impl Fn(u64) -> F + Clone + Send + Sync + 'static,
    ) -> impl FnMut() + 'static {
        let keys = Arc::clone(keys);
        let runtime =
            Builder::new_multi_thread().worker_threads(2).build().expect("a runtime can be built");
        move || {
            let tasks: Vec<_> = (0..TASKS)
                .map(|task| {
                    let (keys, call) = (Arc::clone(&keys), call.clone());
                    runtime.spawn(async move {
                        let each = keys.len() / TASKS;
                        for key in &keys[task * each..(task + 1) * each] {
                            black_box(call(*key).await);
                        }
                    })
                })
                .collect();
            runtime.block_on(async {
                for task in tasks {
                    task.await.expect("no contender panics");
                }
            });
        }
    }
    async fn yielding(key: u64) -> Arc<u64> {
        tokio::task::yield_now().await;
        Arc::new(key)
    }
    let floor = Arc::new(Floor::default());
    let reducer = Reducer::new();
    let map = Arc::new(SharedMap::default());
    let contest = Contest::new(title)
        .with(
            "floor 2, every call for itself",
            tasks(&keys, move |key| {
                let floor = Arc::clone(&floor);
                async move { floor.call(key, yielding(key)).await }
            }),
        )
        .with(
            "reducer",
            tasks(&keys, move |key| {
                let reducer = reducer.clone();
                async move { reducer.reduce_with(key, || yielding(key)).await }
            }),
        )
        .with(
            "map of futures' Shared",
            tasks(&keys, move |key| {
                let map = Arc::clone(&map);
                async move { map.call(key, yielding(key)).await }
            }),
        );
    #[cfg(feature = "peers")]
    let contest = {
        let flights = Arc::new(singleflight_async::SingleFlight::<u64, Arc<u64>>::new());
        contest.with(
            "singleflight-async",
            tasks(&keys, move |key| {
                let flights = Arc::clone(&flights);
                async move { flights.work(key, || yielding(key)).await }
            }),
        )
    };
    contest
}

/// Blocking, uncontended.
fn blocking(title: &'static str, calls: u64) -> Contest {
    let reducer = Reducer::new();
    let sum = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&sum);
    Contest::new(title)
        .with("the bare call", move || {
            for key in 0..calls {
                counted.fetch_add(*Arc::new(black_box(key)) as usize, Relaxed);
            }
        })
        .with("reduce_blocking", move || {
            for key in 0..calls {
                sum.fetch_add(
                    *reducer.reduce_blocking(key, || Arc::new(black_box(key))) as usize,
                    Relaxed,
                );
            }
        })
}

fn main() {
    // `cargo test --benches` passes no `--bench`.
    let args: Vec<String> = std::env::args().skip(1).collect();
    let smoke = args.iter().any(|arg| arg == "--smoke") || !args.iter().any(|arg| arg == "--bench");
    let wanted: Vec<_> = args.iter().filter(|arg| !arg.starts_with("--")).collect();
    let (rounds, scale) = if smoke { (1, 100) } else { (31, 1) };
    let contests = [
        uncontended("W1  uncontended, ready at once", 0, 100_000 / scale),
        uncontended("W2  uncontended, suspends once", 1, 100_000 / scale),
        fan_in("W3  10 callers of one key, released at once", 10, 1),
        fan_in("W3  1,000 callers of one key, released at once", 1_000, 1),
        fan_in("W4  1,000 callers of one key, 20 events from outside", 1_000, 20),
        zipf("W5  64 tasks on two workers, 10,000 keys by zipf's law", 2_000 / scale as usize),
        blocking("threads: uncontended", 100_000 / scale),
    ];
    for contest in contests {
        if wanted.is_empty() || wanted.iter().any(|name| contest.title.starts_with(*name)) {
            contest.run(rounds);
        }
    }
}
