//! Law 5. When the last caller leaves, the work is dropped then and there and the key is free, unless
//! `detached`. A call that is never polled does nothing.

use std::sync::Arc;
use std::time::Duration;

use reducer_core::Reducer;
use reducer_tests::{ByHand, Count, DropCounts, Gate, SlowDrop, never_runs};

#[test]
fn the_last_caller_takes_the_work_along() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let dropped = Count::new();
    let guard = DropCounts(dropped.clone());
    let pass = gate.pass();
    let mut leader = ByHand::new(reducer.reduce(1, async move {
        let _guard = guard;
        pass.await;
    }));
    let mut follower = ByHand::new(reducer.reduce(1, never_runs::<()>()));
    leader.pending();
    follower.pending();
    drop(leader);
    assert_eq!((dropped.get(), reducer.in_flight()), (0, 1));
    drop(follower);
    assert_eq!((dropped.get(), reducer.in_flight()), (1, 0));
}

#[test]
fn the_next_call_after_the_last_starts_anew() {
    let reducer = Reducer::new();
    let runs = Count::new();
    for run in 0..3 {
        let (gate, counted) = (Gate::new(), runs.clone());
        let mut call = ByHand::new(reducer.reduce(1, async move {
            counted.add();
            gate.pass().await;
        }));
        call.pending();
        drop(call);
        assert_eq!(runs.get(), run + 1);
    }
}

#[test]
fn a_flight_in_a_task_of_its_own_ends_with_its_last_caller_too() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let reducer = Reducer::new();
        let gate = Gate::new();
        let dropped = Count::new();
        let mut crowd: Vec<_> = (0..50)
            .map(|_| {
                let (gate, guard) = (gate.clone(), DropCounts(dropped.clone()));
                ByHand::new(reducer.reduce_with(1, move || async move {
                    let _guard = guard;
                    loop {
                        gate.pass().await;
                    }
                }))
            })
            .map(|mut task: ByHand<_>| {
                let _: &mut ByHand<_> = task.pending();
                task
            })
            .collect();
        let unused = dropped.get();
        for _ in 0..3 {
            gate.open();
            tokio::task::yield_now().await;
        }
        let last = crowd.pop();
        drop(crowd);
        assert_eq!(dropped.get(), unused);
        drop(last);
        assert_eq!((dropped.get(), reducer.in_flight()), (unused + 1, 0));
        // The task ends as well: the runtime counts it out.
        while runtime_tasks() > 0 {
            tokio::task::yield_now().await;
        }
    });
}

fn runtime_tasks() -> usize {
    tokio::runtime::Handle::current().metrics().num_alive_tasks()
}

#[tokio::test(start_paused = true)]
async fn detached_work_goes_on_without_callers() {
    let reducer = Reducer::builder().detached(true).build();
    let done = Count::new();
    let work = |done: Count| async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        done.add();
        "done"
    };
    let mut call = Box::pin(reducer.reduce(1, work(done.clone())));
    assert!(futures_util::poll!(&mut call).is_pending());
    drop(call);
    assert_eq!((done.get(), reducer.in_flight()), (0, 1));

    tokio::time::sleep(Duration::from_millis(500)).await;
    assert_eq!(reducer.reduce(1, never_runs::<&str>()).await, "done", "a later call joins it");
    assert_eq!((done.get(), reducer.in_flight()), (1, 0));

    drop(reducer.reduce(1, work(done.clone())));
    tokio::time::sleep(Duration::from_secs(2)).await;
    assert_eq!(done.get(), 1, "what was never polled was never started");
}

#[test]
fn detached_work_dies_with_its_runtime() {
    let reducer = Reducer::builder().detached(true).build();
    let dropped = Count::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(async {
        let guard = DropCounts(dropped.clone());
        let mut call = ByHand::new(reducer.reduce(1, async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        }));
        call.pending();
    });
    assert_eq!((dropped.get(), reducer.in_flight()), (0, 1));
    drop(runtime);
    assert_eq!((dropped.get(), reducer.in_flight()), (1, 0));
}

/// The last caller leaves on one thread while another calls: the new call waits until the old work is
/// gone, so that two works of one key never overlap.
#[test]
fn a_call_during_the_last_ones_exit_starts_anew_when_the_old_work_is_gone() {
    let reducer = Reducer::new();
    let gone = Count::new();
    let (slow, has_begun, end) = SlowDrop::new(gone.clone());
    let mut first = ByHand::new(reducer.reduce(1, async move {
        let _slow = slow;
        std::future::pending::<usize>().await
    }));
    first.pending();
    std::thread::scope(|threads| {
        threads.spawn(move || drop(first));
        has_begun.recv().unwrap();
        let seen = gone.clone();
        let mut next = ByHand::new(reducer.reduce(1, async move { seen.get() }));
        next.pending();
        end.send(()).unwrap();
        while !next.is_woken() {
            std::thread::yield_now();
        }
        assert_eq!(next.ready(), 1, "the old work was gone when the new began");
    });
    assert_eq!(reducer.in_flight(), 0);
}

/// A flight that may go on alone has a share of what its reducer has, landed or not.
#[tokio::test(start_paused = true)]
async fn a_detached_flight_that_lands_alone_keeps_nothing_of_its_reducer() {
    #[derive(Clone)]
    struct Witness(#[allow(dead_code, reason = "it is counted")] Arc<()>);
    impl reducer_core::Hooks for Witness {}

    let witness = Arc::new(());
    let hooks = Witness(Arc::clone(&witness));
    let reducer = Reducer::builder().detached(true).hooks(hooks).build();
    assert_eq!(reducer.reduce(1, async { 2 }).await, 2);
    drop(reducer);
    assert_eq!(Arc::strong_count(&witness), 1);
}
