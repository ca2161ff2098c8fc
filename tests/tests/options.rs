//! What `ReducerBuilder` offers, and what befalls a flight whose runtime goes.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _};
use reducer_core::{ReduceError, Reduced, Reducer, Role};
use reducer_tests::{ByHand, Count, DropCounts, Gate, never_runs, settle};

#[tokio::test(start_paused = true)]
async fn timeout_drops_the_work_and_tells_everybody() {
    let reducer = Reducer::builder().timeout(Duration::from_secs(2)).build();
    let dropped = Count::new();
    let work = |guard| async move {
        let _guard = guard;
        tokio::time::sleep(Duration::from_secs(3)).await;
    };
    let leader = reducer.try_reduce(1, work(DropCounts(dropped.clone())));
    let late = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        let joined = tokio::time::Instant::now();
        (reducer.try_reduce(1, never_runs::<()>()).await, joined.elapsed())
    };
    let (led, (joined, waited)) = tokio::join!(leader, late);
    for outcome in [led, joined] {
        let Err(ReduceError::TimedOut(error)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(error.after(), Duration::from_secs(2));
        assert!(error.to_string().contains("raise `timeout`"), "{error}");
    }
    assert_eq!(waited, Duration::from_secs(1), "the limit counts from the flight's start");
    assert_eq!((dropped.get(), reducer.in_flight()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn work_that_is_in_time_is_not_touched_by_its_timeout() {
    let reducer = Reducer::builder().timeout(Duration::from_secs(2)).build();
    let work = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        7
    };
    assert_eq!(reducer.reduce(1, work).await, 7);
}

#[test]
fn max_followers_refuses_the_call_beyond_at_once() {
    let reducer = Reducer::builder().max_followers(2).build();
    let gate = Gate::new();
    let mut tasks: Vec<_> =
        (0..3).map(|_| ByHand::new(reducer.try_reduce(1, gate.pass()))).collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    let refused = ByHand::new(reducer.try_reduce(1, gate.pass())).ready().unwrap_err();
    let ReduceError::Overloaded(error) = refused else { panic!("{refused:?}") };
    assert_eq!(error.limit(), 2);
    assert!(error.to_string().contains("max_followers"), "{error}");

    // A place that is left is free for another; that of a leader is not a follower's.
    drop(tasks.pop());
    let mut third = ByHand::new(reducer.try_reduce(1, gate.pass()));
    third.pending();
    drop(tasks.remove(0));
    assert!(ByHand::new(reducer.try_reduce(1, gate.pass())).ready().is_err());
    gate.open();
    assert_eq!(third.ready().unwrap().role, Role::Joined);
}

#[test]
fn max_followers_of_zero_is_skip_if_busy() {
    let reducer = Reducer::builder().max_followers(0).build();
    let gate = Gate::new();
    let mut only = ByHand::new(reducer.try_reduce(1, gate.pass()));
    only.pending();
    assert!(ByHand::new(reducer.try_reduce(1, gate.pass())).ready().is_err());
    gate.open();
    assert!(only.ready().is_ok());
}

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap()
}

type Tried<'r, V> = ByHand<BoxFuture<'r, Result<Reduced<V>, ReduceError>>>;

/// A crowd on one runtime, large enough that the flight moves to a task there; one caller elsewhere.
fn crowd_and_one_elsewhere<'r, F, V>(
    reducer: &'r Reducer,
    gate: &Gate,
    home: &tokio::runtime::Runtime,
    work: impl Fn() -> F,
) -> (Vec<Tried<'r, V>>, Tried<'r, V>)
where
    V: Clone + Send + Sync + 'static,
    F: Future<Output = V> + Send + 'static,
{
    let call = || {
        let mut task = ByHand::new(reducer.try_reduce(1, work()).boxed());
        task.pending();
        task
    };
    let crowd = home.block_on(async {
        let crowd = (0..50).map(|_| call()).collect();
        gate.rattle();
        tokio::task::yield_now().await;
        assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 1, "it moved");
        crowd
    });
    (crowd, call())
}

#[test]
fn a_flight_outlives_the_runtime_it_moved_to_if_its_work_can() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let home = current_thread();
    let work = || {
        let pass = gate.pass();
        async move {
            pass.await;
            "done"
        }
    };
    let (crowd, mut elsewhere) = crowd_and_one_elsewhere(&reducer, &gate, &home, work);
    drop(home);
    assert!(elsewhere.is_woken());
    elsewhere.pending();
    drop(crowd);
    gate.open();
    assert!(elsewhere.is_woken());
    assert_eq!(elsewhere.ready().unwrap().value, "done");
}

#[test]
fn a_flight_whose_work_cannot_outlive_its_runtime_is_cancelled_and_says_so() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let home = current_thread();
    let work = || {
        let pass = gate.pass();
        async move {
            let sleep = tokio::time::sleep(Duration::from_secs(3600));
            futures_util::future::select(std::pin::pin!(sleep), std::pin::pin!(pass)).await;
        }
    };
    let (crowd, mut elsewhere) = crowd_and_one_elsewhere(&reducer, &gate, &home, work);
    drop(home);
    assert!(elsewhere.is_woken());
    let Err(ReduceError::Cancelled(error)) = elsewhere.ready() else { panic!("not cancelled") };
    assert!(error.to_string().contains("was shut down"), "{error}");
    assert_eq!(reducer.in_flight(), 0);
    drop(crowd);
}

#[test]
fn a_leader_whose_runtime_dies_leaves_the_flight_to_a_thread() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let home = current_thread();
    let pass = gate.pass();
    let task = home.spawn({
        let reducer = reducer.clone();
        async move { reducer.reduce(1, pass).await }
    });
    home.block_on(tokio::task::yield_now());
    assert_eq!(reducer.in_flight(), 1);
    std::thread::scope(|threads| {
        let (joining, joined) = std::sync::mpsc::channel();
        let thread = threads.spawn(|| {
            let mut call = std::pin::pin!(reducer.reduce(1, never_runs::<()>()));
            let mut first = Some(joining);
            pollster::block_on(std::future::poll_fn(|cx| {
                let polled = call.as_mut().poll(cx);
                if let Some(joining) = first.take() {
                    joining.send(()).unwrap();
                }
                polled
            }));
        });
        joined.recv().unwrap();
        drop((task, home));
        gate.open();
        thread.join().unwrap();
    });
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn a_large_crowd_without_a_runtime_lands_too() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut tasks: Vec<_> = (0..500)
        .map(|_| {
            let gate = gate.clone();
            ByHand::new(reducer.reduce_with(1, move || async move {
                for _ in 0..5 {
                    gate.pass().await;
                }
            }))
        })
        .collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    (0..5).for_each(|_| gate.open());
    assert!(settle(&mut tasks).into_iter().all(|done| done.is_some()));
}
