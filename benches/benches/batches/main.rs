//! What a call of a batch costs beside a hand-rolled channel loop, and beside what else there is.
//!
//! Everybody loads so many different keys, in batches of 100, from a function that is ready at once; all contenders of
//! a workload take turns in every round, on CPU time, and the medians are shown as ratios to the first.
//! `-- --smoke` runs each once.

use std::future::Future;
use std::hint::black_box;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use benches::{Args, Contest, allocations};
use futures_util::future::join_all;
use reducer_core::Aggregator;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::{mpsc, oneshot};

#[cfg(feature = "peers")]
mod peers;

const BATCH: usize = 100;
const LEEWAY: Duration = Duration::from_millis(10);

/// How callers come.
#[derive(Clone, Copy, PartialEq)]
enum Shape {
    /// A task per load.
    Tasks,
    /// All under one `join_all`.
    Joined,
}

fn runtime(threads: usize) -> Runtime {
    let mut builder = match threads {
        1 => Builder::new_current_thread(),
        _ => Builder::new_multi_thread(),
    };
    if threads > 1 {
        builder.worker_threads(threads);
    }
    builder.enable_time().build().expect("a runtime can be built")
}

/// Loads all keys once a round.
fn loads<F: Future<Output = u64> + Send + 'static>(
    runtime: &Arc<Runtime>,
    shape: Shape,
    count: u64,
    load: impl Fn(u64) -> F + 'static,
) -> impl FnMut() + 'static {
    let runtime = Arc::clone(runtime);
    // Never the same key twice: some peers keep answers.
    let mut round = 0;
    move || {
        round += 1;
        let first = round * count;
        let sum: u64 = runtime.block_on(async {
            match shape {
                Shape::Joined => join_all((first..first + count).map(&load)).await.iter().sum(),
                Shape::Tasks => {
                    let tasks: Vec<_> =
                        (first..first + count).map(|key| tokio::spawn(load(key))).collect();
                    let mut sum = 0;
                    for task in tasks {
                        sum += task.await.expect("no contender panics");
                    }
                    sum
                }
            }
        });
        assert_eq!(black_box(sum), (first..first + count).map(|key| key * 2).sum::<u64>());
    }
}

fn double_all(keys: &[u64]) -> impl Iterator<Item = u64> + '_ {
    keys.iter().map(|key| key * 2)
}

/// What one writes by hand: a loop that gathers a batch, loads it, and answers everybody through a channel of their
/// own.
type Letter = (u64, oneshot::Sender<u64>);

fn hand_rolled() -> mpsc::UnboundedSender<Letter> {
    let (sender, mut receiver) = mpsc::unbounded_channel::<Letter>();
    tokio::spawn(async move {
        let mut batch: Vec<Letter> = Vec::with_capacity(BATCH);
        while receiver.recv_many(&mut batch, BATCH).await > 0 {
            let end = tokio::time::sleep(LEEWAY);
            tokio::pin!(end);
            while batch.len() < BATCH {
                let room = BATCH - batch.len();
                tokio::select! {
                    biased;
                    more = receiver.recv_many(&mut batch, room) => if more == 0 { break },
                    () = &mut end => break,
                }
            }
            let keys: Vec<u64> = batch.iter().map(|(key, _)| *key).collect();
            for (answer, (_, caller)) in double_all(&keys).zip(batch.drain(..)) {
                let _ = caller.send(answer);
            }
        }
    });
    sender
}

fn batching(title: &'static str, threads: usize, shape: Shape, count: u64) -> Contest {
    let runtime = Arc::new(runtime(threads));
    let _inside = runtime.enter();
    let by_hand = hand_rolled();
    let ours = aggregator();
    let contest = Contest::new(title)
        .with(
            "mpsc and oneshot by hand",
            loads(&runtime, shape, count, move |key| {
                let by_hand = by_hand.clone();
                async move {
                    let (sender, receiver) = oneshot::channel();
                    by_hand.send((key, sender)).expect("the loop runs");
                    receiver.await.expect("the loop answers")
                }
            }),
        )
        .with(
            "Aggregator",
            loads(&runtime, shape, count, move |key| {
                let call = ours.call(key);
                async move { call.await.expect("there is an answer for every key") }
            }),
        )
        .with(
            "nothing: woken once, at once",
            loads(&runtime, shape, count, move |key| async move {
                tokio::task::yield_now().await;
                key * 2
            }),
        );
    #[cfg(feature = "peers")]
    let contest = peers::enter(contest, &runtime, shape, count);
    contest
}

fn aggregator() -> Aggregator<u64, u64> {
    Aggregator::builder()
        .leeway(LEEWAY)
        .max_count(BATCH)
        .build(|keys: Vec<u64>| async move { double_all(&keys).collect::<Vec<_>>() })
}

/// The same `join_all`, of so many; the ratio is per call, to the smallest.
fn crowds(scale: u64) -> Contest {
    let runtime = Arc::new(runtime(1));
    let contender = |count: u64| {
        let ours = aggregator();
        let mut run = loads(&runtime, Shape::Joined, count, move |key| {
            let call = ours.call(key);
            async move { call.await.expect("there is an answer for every key") }
        });
        // 64,000 calls each, however many at once.
        move || (0..64_000 / scale / count).for_each(|_| run())
    };
    Contest::new("B4  64,000 calls, so many under one join_all")
        .with("1,000", contender(1_000 / scale))
        .with("4,000", contender(4_000 / scale))
        .with("16,000", contender(16_000 / scale))
        .with("64,000", contender(64_000 / scale))
}

/// What the library allocates for a call, in batches of 100. The runtime's own task for a batch is counted with it.
fn allocated() {
    let runtime = Arc::new(runtime(1));
    let ours = aggregator();
    let calls = 10_000;
    runtime.block_on(async {
        for round in 0..2 {
            let mut waiting: Vec<_> = (0..calls).map(|key| ours.call(key)).collect();
            let before = allocations::allocations();
            // Arrive, under no executor of their own: `join_all` allocates for each future.
            std::future::poll_fn(|cx| {
                for call in &mut waiting {
                    assert!(Pin::new(call).poll(cx).is_pending());
                }
                Poll::Ready(())
            })
            .await;
            while ours.stats().batches < (round + 1) * calls as usize / BATCH {
                tokio::task::yield_now().await;
            }
            tokio::task::yield_now().await;
            let allocated = allocations::allocations() - before;
            for call in waiting {
                assert!(call.await.is_ok());
            }
            if round == 1 {
                println!(
                    "\nallocations a call: {:.3}, the function's two Vecs among them",
                    allocated as f64 / calls as f64
                );
            }
        }
    });
}

fn main() {
    let args = Args::new();
    let scale = if args.smoke { 10 } else { 1 };
    let count = 10_000 / scale;
    let contests = [
        batching("B1  a task per load, one thread", 1, Shape::Tasks, count),
        batching("B2  a task per load, two threads", 2, Shape::Tasks, count),
        batching("B3  one join_all", 1, Shape::Joined, count),
        crowds(scale),
    ];
    for contest in contests {
        args.run(contest);
    }
    if args.want("allocations") {
        allocated();
    }
}
