//! Batches among users' code that panics or calls back, runtimes that die, and crowds.

use std::collections::HashMap;
use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::{Arc, Mutex, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use futures_util::future::join_all;
use reducer_core::{AggregateError, Aggregator, Slot};
use reducer_tests::{At, ByHand, Count, Dice, DropCounts, Gate, Touchy};
use tokio::runtime::{Builder, Runtime};

const LEEWAY: Duration = Duration::from_millis(10);

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().start_paused(true).build().unwrap()
}

fn echo() -> Aggregator<u64, u64> {
    Aggregator::builder().leeway(LEEWAY).max_count(2).build(|ns: Vec<u64>| async move { ns })
}

#[test]
fn a_runtime_that_dies_in_mid_batch_fails_its_own_callers_and_no_other() {
    static SLOW: OnceLock<Aggregator<u64, u64>> = OnceLock::new();
    let gate = Gate::new();
    let passed = gate.clone();
    let slow = SLOW.get_or_init(|| {
        Aggregator::builder().leeway(LEEWAY).max_concurrent(1).build(move |ns: Vec<u64>| {
            let gate = passed.clone();
            async move {
                gate.pass().await;
                ns
            }
        })
    });
    let (first, second) = (runtime(), runtime());
    // Polled by hand, so that the callers outlive their runtime: one is running, one waits for a place.
    let mut running = ByHand::new(slow.call(1));
    let mut open = ByHand::new(slow.call(2));
    let mut elsewhere = ByHand::new(slow.call(3));
    first.block_on(async {
        running.pending();
        tokio::time::sleep(LEEWAY * 2).await;
        open.pending();
        tokio::time::sleep(LEEWAY * 2).await;
    });
    second.block_on(async {
        elsewhere.pending();
        tokio::time::sleep(LEEWAY * 2).await;
    });
    assert_eq!((slow.stats().running, slow.stats().waiting), (1, 2));
    drop(first);
    assert!(running.is_woken() && open.is_woken());
    assert!(matches!(running.ready(), Err(AggregateError::Closed)));
    assert!(matches!(open.ready(), Err(AggregateError::Closed)));
    gate.open();
    assert_eq!(second.block_on(ByHandFuture(elsewhere)).unwrap(), 3);
    drop(second);
    gate.open();
    assert_eq!(runtime().block_on(slow.call(4)).unwrap(), 4);
    let stats = slow.stats();
    assert_eq!((stats.running, stats.waiting, stats.batches), (0, 0, 3));
}

/// Goes on with a future that was polled by hand.
struct ByHandFuture<F>(ByHand<F>);

impl<F> Unpin for ByHandFuture<F> {}

impl<F: Future> Future for ByHandFuture<F> {
    type Output = F::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<F::Output> {
        let poll = self.0.poll();
        if poll.is_pending() {
            cx.waker().wake_by_ref();
        }
        poll
    }
}

#[test]
fn without_a_runtime_or_in_one_that_is_shut_down_a_call_is_closed() {
    let echo = echo();
    assert!(matches!(pollster::block_on(echo.call(1)), Err(AggregateError::Closed)));
    let handle = {
        let runtime = runtime();
        runtime.handle().clone()
    };
    let _inside = handle.enter();
    assert!(matches!(pollster::block_on(echo.call(1)), Err(AggregateError::Closed)));
    assert_eq!(echo.stats().waiting, 0);
}

#[test]
fn a_runtime_without_a_clock_says_what_is_missing() {
    let echo = echo();
    let runtime = Builder::new_current_thread().build().unwrap();
    let answer = runtime.block_on(echo.call(1));
    let Err(AggregateError::Panicked(panicked)) = answer else { panic!("{answer:?}") };
    assert!(panicked.message().contains("enable_time"), "{}", panicked.message());
    let (a, b) = runtime.block_on(async { tokio::join!(echo.call(1), echo.call(2)) });
    assert_eq!((a.unwrap(), b.unwrap()), (1, 2)); // a full batch needs none
    assert_eq!(echo.stats().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_future_that_panics_when_it_is_dropped_hangs_nobody() {
    struct Mine;
    impl Drop for Mine {
        fn drop(&mut self) {
            panic!("in a destructor");
        }
    }
    struct Batch(Vec<u64>, Mine);
    impl Future for Batch {
        type Output = Vec<u64>;
        fn poll(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Vec<u64>> {
            Poll::Ready(std::mem::take(&mut self.0))
        }
    }
    let mined =
        Aggregator::builder().max_count(1).max_concurrent(1).build(|ns: Vec<u64>| Batch(ns, Mine));
    for n in 0..3 {
        assert_eq!(mined.call(n).await.unwrap(), n);
    }
    assert_eq!(mined.stats().running, 0);
}

#[tokio::test(start_paused = true)]
async fn a_panic_of_users_code_reaches_its_own_batch_at_most() {
    // Where it panics, and how often it may be touched before that.
    for (at, n) in [At::Hash, At::Eq, At::Clone, At::Drop]
        .into_iter()
        .flat_map(|at| (1..12).map(move |n| (at, n)))
    {
        let touchy = Touchy::new(1, at, n);
        let once = Aggregator::builder().leeway(LEEWAY).max_concurrent(1).dedupe().build(
            |ns: Vec<Arc<Guarded>>| async move {
                ns.iter().map(|n| (Arc::clone(n), n.0.clone())).collect::<HashMap<_, _>>()
            },
        );
        let tasks: Vec<_> =
            (0..4).map(|_| tokio::spawn(once.call(Arc::new(Guarded(touchy.twin()))))).collect();
        tokio::task::yield_now().await;
        tasks[0].abort();
        for task in tasks {
            // An answer, an error, a panic of its own: but an end.
            let _ = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
                drop(futures_util::FutureExt::now_or_never(task))
            }));
        }
        tokio::time::sleep(LEEWAY * 3).await;
        let stats = once.stats();
        assert_eq!((stats.running, stats.waiting), (0, 0), "{at:?} {n}");
        let fine = once.call(Arc::new(Guarded(Touchy::new(2, at, 0)))).await;
        assert!(fine.unwrap().is_some(), "{at:?} {n}");
        std::mem::forget(touchy);
    }
}

struct Guarded(Touchy);

impl Hash for Guarded {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Guarded {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Guarded {}

/// Calls back into the aggregator, from wherever users' code runs.
struct Nosy(Aggregator<Arc<Nosy>, u64>, Count);

impl Drop for Nosy {
    fn drop(&mut self) {
        // Were a lock held here, this would never return.
        let _ = self.0.stats();
        drop(self.0.flush());
        self.1.add();
    }
}

impl Wake for Nosy {
    fn wake(self: Arc<Self>) {
        let _ = self.0.stats();
    }
}

#[tokio::test(start_paused = true)]
async fn users_code_runs_under_no_lock() {
    let dropped = Count::new();
    let nosy = Aggregator::builder()
        .leeway(LEEWAY)
        .build(|them: Vec<Arc<Nosy>>| async move { vec![7; them.len()] });
    let one = || Arc::new(Nosy(nosy.clone(), dropped.clone()));
    assert_eq!(nosy.call(one()).await.unwrap(), 7);
    // Its waker is one that asks, and it leaves before its batch goes.
    let mut call = Box::pin(nosy.call(one()));
    for _ in 0..2 {
        let waker = Waker::from(one());
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    drop(call);
    assert_eq!(dropped.get(), 4);
    let mut call = Box::pin(nosy.call(one()));
    let waker = Waker::from(one());
    assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    nosy.flush().await;
    assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_ready());
}

#[tokio::test(start_paused = true)]
async fn a_waker_that_panics_hides_no_answer_from_the_others() {
    struct Bad;
    impl Wake for Bad {
        fn wake(self: Arc<Self>) {
            panic!("in a waker");
        }
    }
    let echo = Aggregator::builder().leeway(LEEWAY).build(|ns: Vec<u64>| async move { ns });
    let mut bad = Box::pin(echo.call(1));
    let waker = Waker::from(Arc::new(Bad));
    assert!(bad.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    assert_eq!(echo.call(2).await.unwrap(), 2);
    assert_eq!(bad.await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn hundred_awaits_inside_wake_no_caller() {
    let slow = Aggregator::builder().max_count(10).build(|ns: Vec<u64>| async move {
        for _ in 0..100 {
            tokio::task::yield_now().await;
        }
        ns
    });
    let mut calls: Vec<_> = (0..10).map(|n| ByHand::new(slow.call(n))).collect();
    for call in &mut calls {
        call.pending();
    }
    tokio::time::sleep(LEEWAY).await;
    for call in &mut calls {
        assert!(call.ready().is_ok());
        assert_eq!(call.polls, 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_function_may_call_its_own_aggregator() {
    static SUMS: OnceLock<Aggregator<u64, u64>> = OnceLock::new();
    let sums = SUMS.get_or_init(|| {
        Aggregator::builder().leeway(LEEWAY).build(|ns: Vec<u64>| async move {
            let mut sums = Vec::new();
            for n in ns {
                let rest: Pin<Box<dyn Future<Output = u64> + Send>> = match n {
                    0 => Box::pin(async { 0 }),
                    n => Box::pin(async move { SUMS.get().unwrap().call(n - 1).await.unwrap() }),
                };
                sums.push(n + rest.await);
            }
            sums
        })
    });
    assert_eq!(sums.call(4).await.unwrap(), 10);
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_is_dropped() {
    let dropped = Count::new();
    let gate = Gate::new();
    let passed = gate.clone();
    let slow = Aggregator::builder().max_count(2).build_slots(
        move |slots: Vec<Slot<DropCounts, DropCounts>>| {
            let gate = passed.clone();
            async move {
                gate.pass().await;
                for slot in slots {
                    slot.set(DropCounts(slot.value().0.clone()));
                }
            }
        },
    );
    let mut calls = [0, 1].map(|_| ByHand::new(slow.call(DropCounts(dropped.clone()))));
    for call in &mut calls {
        call.pending();
    }
    tokio::task::yield_now().await;
    let [left, stays] = calls;
    drop(left);
    gate.open();
    let answer = ByHandFuture(stays).await;
    assert_eq!(dropped.get(), 3); // both arguments, and the answer to the one who left
    drop(answer);
    assert_eq!(dropped.get(), 4);
}

/// Random programs beside what they must come to: who stays gets its own answer, each argument of those runs
/// once, none of those who left before dispatch, no batch is too large, never too many at once.
#[tokio::test(start_paused = true)]
async fn any_program_keeps_the_laws() {
    for seed in 0..200 {
        let mut dice = Dice::new(seed);
        let (max_count, max_concurrent) = (1 + dice.below(5), 1 + dice.below(3));
        let seen = Arc::new(Mutex::new((Vec::<u64>::new(), 0usize)));
        let log = Arc::clone(&seen);
        let echo = Aggregator::builder()
            .leeway(LEEWAY)
            .max_count(max_count)
            .max_concurrent(max_concurrent)
            .build(move |ns: Vec<u64>| {
                let log = Arc::clone(&log);
                async move {
                    assert!(!ns.is_empty() && ns.len() <= max_count);
                    {
                        let mut log = log.lock().unwrap();
                        log.0.extend(&ns);
                        log.1 += 1;
                        assert!(log.1 <= max_concurrent);
                    }
                    tokio::time::sleep(LEEWAY * (ns[0] % 4) as u32).await;
                    log.lock().unwrap().1 -= 1;
                    assert!(ns[0] % 11 != 10, "every now and then");
                    ns
                }
            });
        let mut calls = Vec::new();
        let mut never_sent = Vec::new();
        for n in 0..40u64 {
            calls.push((n, tokio::spawn(echo.call(n))));
            match dice.below(5) {
                0 => tokio::time::sleep(LEEWAY / 3).await,
                1 => {
                    let (left, call) = calls.swap_remove(dice.below(calls.len()));
                    call.abort();
                    tokio::task::yield_now().await;
                    if !seen.lock().unwrap().0.contains(&left) {
                        never_sent.push(left);
                    }
                }
                2 => tokio::task::yield_now().await,
                3 => drop(echo.flush()),
                _ => {}
            }
        }
        let stayed: Vec<u64> = calls.iter().map(|(n, _)| *n).collect();
        for (n, call) in calls {
            match call.await.unwrap() {
                Ok(answer) => assert_eq!(answer, n, "seed {seed}"),
                Err(AggregateError::Panicked(_)) => {}
                Err(other) => panic!("seed {seed}: {other:?}"),
            }
        }
        let seen = seen.lock().unwrap().0.clone();
        let mut once = seen.clone();
        once.sort_unstable();
        once.dedup();
        assert_eq!(once.len(), seen.len(), "seed {seed}: sent twice");
        assert!(stayed.iter().all(|n| seen.contains(n)), "seed {seed}: lost");
        assert!(
            never_sent.iter().all(|n| !seen.contains(n)),
            "seed {seed}: sent after it had left"
        );
        tokio::time::sleep(LEEWAY * 20).await;
        let stats = echo.stats();
        assert_eq!((stats.running, stats.waiting), (0, 0), "seed {seed}");
    }
}

#[test]
fn threads_come_and_go_and_each_has_its_own_answer() {
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let echo = Aggregator::builder().immediate().max_count(7).max_concurrent(3).build(
        |ns: Vec<u64>| async move {
            tokio::task::yield_now().await;
            ns
        },
    );
    runtime.block_on(async {
        for round in 0..20 {
            let tasks: Vec<_> = (0..500u64).map(|n| (n, tokio::spawn(echo.call(n)))).collect();
            for (n, task) in tasks {
                if (n + round).is_multiple_of(5) {
                    task.abort();
                }
                if let Ok(answer) = task.await {
                    assert_eq!(answer.unwrap(), n);
                }
            }
        }
        let crowd = join_all((0..20_000).map(|n| echo.call(n))).await;
        assert!(crowd.into_iter().enumerate().all(|(n, answer)| answer.unwrap() == n as u64));
        while echo.stats().running > 0 {
            tokio::task::yield_now().await;
        }
    });
    assert_eq!((echo.stats().running, echo.stats().waiting), (0, 0));
}
