//! Law 4. While one caller is being polled the flight moves, even if every other caller holds its future
//! without polling it. No caller can hold up another.

use std::future::Future;
use std::mem;
use std::time::Duration;

use reducer_core::Reducer;
use reducer_tests::{ByHand, Count, Gate, never_runs};

/// Work of several steps; each must be driven by somebody.
fn steps(gate: &Gate, n: usize) -> impl Future<Output = usize> + Send + 'static {
    let gate = gate.clone();
    async move {
        for _ in 0..n {
            gate.pass().await;
        }
        n
    }
}

fn one_polled_among_held(held: usize, polled_is_leader: bool) {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut tasks: Vec<_> =
        (0..=held).map(|_| ByHand::new(reducer.reduce(1, steps(&gate, 50)))).collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    let at = if polled_is_leader { 0 } else { held };
    let mut polled = tasks.remove(at);
    for _ in 0..49 {
        gate.open();
        assert!(polled.is_woken());
        polled.pending();
    }
    gate.open();
    assert_eq!(polled.ready(), 50);
}

#[test]
fn a_held_leader_stalls_nobody() {
    one_polled_among_held(1, false);
}

#[test]
fn a_held_follower_stalls_nobody() {
    one_polled_among_held(1, true);
}

#[test]
fn twenty_held_callers_stall_nobody() {
    one_polled_among_held(20, false);
    one_polled_among_held(20, true);
}

#[test]
fn who_joins_when_the_work_is_awake_looks_again_and_drives_it_if_nobody_else_has() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut held = ByHand::new(reducer.reduce(1, steps(&gate, 2)));
    held.pending();
    gate.open();
    let mut late = ByHand::new(reducer.reduce(1, never_runs::<usize>()));
    assert!(late.pending().is_woken());
    late.pending();
    gate.open();
    assert!(late.is_woken());
    assert_eq!(late.ready(), 2);
}

#[tokio::test]
async fn who_joins_when_the_work_is_awake_shares_with_all_who_come_before_it_is_polled() {
    let (reducer, runs) = (Reducer::new(), Count::new());
    // More than the scheduler runs before it looks who has yielded.
    let callers = (0..1000).map(|_| {
        let (reducer, runs) = (reducer.clone(), runs.clone());
        tokio::spawn(async move {
            let work = async move {
                runs.add();
                tokio::task::yield_now().await;
            };
            reducer.reduce(1, work).await;
        })
    });
    for caller in callers.collect::<Vec<_>>() {
        caller.await.unwrap();
    }
    assert_eq!(runs.get(), 1);
}

#[test]
fn a_forgotten_leader_stalls_nobody() {
    let reducer: &'static Reducer = Box::leak(Box::new(Reducer::new()));
    let gate = Gate::new();
    let mut leader = Box::pin(reducer.reduce(1, steps(&gate, 3)));
    let mut poll_once = ByHand::new(std::future::poll_fn(|cx| {
        assert!(leader.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    }));
    poll_once.ready();
    drop(poll_once);
    mem::forget(leader);
    let mut follower = ByHand::new(reducer.reduce(1, never_runs::<usize>()));
    follower.pending();
    for _ in 0..2 {
        gate.open();
        follower.pending();
    }
    gate.open();
    assert_eq!(follower.ready(), 3);
    assert_eq!(reducer.in_flight(), 0);
}

/// The futurelock of RFD 609: a `select!` arm calls for the key that another arm holds unpolled.
#[tokio::test(start_paused = true)]
async fn a_select_arm_may_call_for_the_key_that_its_sibling_holds() {
    let reducer = Reducer::new();
    let work = || async {
        for _ in 0..5 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        "done"
    };
    let mut held = Box::pin(reducer.reduce(1, work()));
    let out = tokio::select! {
        biased;
        _ = &mut held => unreachable!("it takes 50 ms"),
        _ = tokio::time::sleep(Duration::from_millis(5)) => reducer.reduce(1, work()).await,
    };
    assert_eq!(out, "done");
    assert_eq!(held.await, "done");
}

#[tokio::test(start_paused = true)]
async fn many_held_in_one_task_stall_nobody_in_another() {
    let reducer = Reducer::new();
    let work = || async {
        for _ in 0..30 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut held: Vec<_> = (0..20).map(|_| Box::pin(reducer.reduce(1, work()))).collect();
    for call in &mut held {
        assert!(futures_util::poll!(call).is_pending());
    }
    let other = reducer.clone();
    tokio::spawn(async move { other.reduce(1, work()).await }).await.unwrap();
    for call in held {
        call.await;
    }
}

/// The callers that the flight's own task serves rely on it; those elsewhere must not have to.
#[test]
fn a_flight_on_a_runtime_that_nobody_drives_goes_on_elsewhere() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let idle = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let mut crowd = idle.block_on(async {
        let mut crowd: Vec<_> =
            (0..50).map(|_| ByHand::new(reducer.reduce(1, steps(&gate, 10)))).collect();
        crowd.iter_mut().for_each(|task| {
            task.pending();
        });
        crowd
    });
    let mut elsewhere = ByHand::new(reducer.reduce(1, never_runs::<usize>()));
    elsewhere.pending();
    // The crowd is large enough for a task of its own, on a runtime that stands still.
    for _ in 0..9 {
        gate.open();
        assert!(elsewhere.is_woken());
        elsewhere.pending();
    }
    gate.open();
    assert_eq!(elsewhere.ready(), 10);
    crowd.iter_mut().for_each(|task| {
        task.ready();
    });
}

/// A thousand callers are not woken at each of the work's steps.
fn polls_of_a_crowd(polled: &Count, steps: usize, runtime: &tokio::runtime::Runtime) {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let work = move |gate: Gate| async move {
        for _ in 0..steps {
            gate.pass().await;
        }
    };
    runtime.block_on(async {
        let tasks: Vec<_> = (0..1000)
            .map(|_| {
                let (reducer, gate, polled) = (reducer.clone(), gate.clone(), polled.clone());
                tokio::spawn(async move {
                    let mut call = std::pin::pin!(reducer.reduce(1, work(gate)));
                    std::future::poll_fn(|cx| {
                        let polled_now = call.as_mut().poll(cx);
                        // After the poll: who is counted has joined.
                        polled.add();
                        polled_now
                    })
                    .await;
                })
            })
            .collect();
        while polled.get() < 1000 {
            tokio::task::yield_now().await;
        }
        for _ in 0..steps {
            gate.open();
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        }
        for task in tasks {
            task.await.unwrap();
        }
    });
}

#[test]
fn a_thousand_callers_are_polled_about_twice_whatever_the_steps() {
    let polls = Count::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    polls_of_a_crowd(&polls, 20, &runtime);
    assert!(polls.get() <= 2_200, "{} polls", polls.get());
}

#[test]
fn a_thousand_callers_on_two_threads_are_polled_about_twice_too() {
    let polls = Count::new();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).build().unwrap();
    polls_of_a_crowd(&polls, 20, &runtime);
    assert!(polls.get() <= 2_200, "{} polls", polls.get());
}

#[tokio::test]
async fn a_thousand_callers_in_one_task_are_polled_about_twice_too() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let polls = Count::new();
    let calls = (0..1000).map(|_| {
        let mut call = Box::pin(reducer.reduce(1, steps(&gate, 20)));
        let polls = polls.clone();
        std::future::poll_fn(move |cx| {
            polls.add();
            call.as_mut().poll(cx)
        })
    });
    let opener = async {
        for _ in 0..20 {
            gate.open();
            for _ in 0..5 {
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::join!(futures_util::future::join_all(calls), opener);
    assert!(polls.get() <= 2_200, "{} polls", polls.get());
}
