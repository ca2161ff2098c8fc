//! Law 6. If the work panics, every caller that joined panics with the same message; nobody hangs, no
//! lock is poisoned, the key is free at once.

use std::any::Any;

use reducer_core::{ReduceError, Reducer};
use reducer_tests::{ByHand, Count, Gate, never_runs, panics};

async fn crash_after(gate: Gate, message: &'static str) -> u32 {
    gate.pass().await;
    panic!("{message}")
}

#[test]
fn every_caller_panics_with_the_same_message_and_the_key_is_free() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut tasks: Vec<_> = (0..5)
        .map(|_| ByHand::new(reducer.reduce(1, crash_after(gate.clone(), "no disk"))))
        .collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    gate.open();
    for task in &mut tasks {
        assert!(task.is_woken());
        assert_eq!(panics(|| task.poll()), "no disk");
        assert_eq!(reducer.in_flight(), 0);
    }
    assert_eq!(ByHand::new(reducer.reduce(1, async { 7u32 })).ready(), 7);
}

#[test]
fn try_reduce_tells_the_message() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut a = ByHand::new(reducer.try_reduce(1, crash_after(gate.clone(), "no disk")));
    let mut b = ByHand::new(reducer.try_reduce(1, crash_after(gate.clone(), "no disk")));
    a.pending();
    b.pending();
    gate.open();
    for task in [&mut a, &mut b] {
        let Err(ReduceError::Panicked(panicked)) = task.ready() else { panic!("no panic") };
        assert_eq!(panicked.message(), "no disk");
        assert!(panicked.to_string().contains("the next call starts afresh"), "{panicked}");
    }
}

#[test]
fn work_that_panics_before_its_first_await_is_no_exception() {
    let reducer = Reducer::new();
    let mut call = ByHand::new(reducer.reduce(1, async { panic!("at once") }));
    assert_eq!(panics(|| call.poll()), "at once");
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn work_that_panics_while_it_is_built_panics_in_those_who_joined_meanwhile() {
    let reducer = Reducer::new();
    let mut followers = Vec::new();
    let mut lead = ByHand::new(reducer.reduce_with(1, || -> std::future::Ready<u32> {
        // From another thread, or each would be a call inside of the flight it joins.
        let join = || ByHand::new(reducer.reduce(1, never_runs::<u32>()));
        let joined = std::thread::scope(|threads| {
            let joining = || {
                let mut follower = join();
                follower.pending();
                follower
            };
            [threads.spawn(joining), threads.spawn(joining)].map(|thread| thread.join().unwrap())
        });
        followers.extend(joined);
        panic!("bad URL")
    }));
    assert_eq!(panics(|| lead.poll()), "bad URL");
    assert_eq!(reducer.in_flight(), 0);
    drop(lead);
    for follower in &mut followers {
        assert!(follower.is_woken());
        assert_eq!(panics(|| follower.poll()), "bad URL");
    }
}

#[test]
fn a_payload_that_is_no_string_reaches_the_first_caller_whole() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let work = |gate: Gate| async move {
        gate.pass().await;
        std::panic::panic_any(42u64)
    };
    let work = |gate| async move { work(gate).await as () };
    let mut a = ByHand::new(reducer.reduce(1, work(gate.clone())));
    let mut b = ByHand::new(reducer.reduce(1, work(gate.clone())));
    a.pending();
    b.pending();
    gate.open();
    let catch = |task: &mut ByHand<_>| -> Box<dyn Any + Send> {
        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| task.poll())).unwrap_err()
    };
    assert_eq!(*catch(&mut a).downcast::<u64>().unwrap(), 42);
    assert_eq!(
        *catch(&mut b).downcast::<String>().unwrap(),
        "a panic whose payload is not a string"
    );
}

#[test]
fn a_follower_that_drives_into_the_panic_shares_it_too() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut leader = ByHand::new(reducer.reduce(1, crash_after(gate.clone(), "late")));
    let mut follower = ByHand::new(reducer.reduce(1, crash_after(gate.clone(), "late")));
    leader.pending();
    follower.pending();
    gate.open();
    assert_eq!(panics(|| follower.poll()), "late");
    assert_eq!(panics(|| leader.poll()), "late");
}

#[tokio::test]
async fn tasks_that_share_a_panic_all_end() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let runs = Count::new();
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let (reducer, gate, runs) = (reducer.clone(), gate.clone(), runs.clone());
            tokio::spawn(async move {
                reducer
                    .reduce(1, async move {
                        runs.add();
                        for _ in 0..10 {
                            tokio::task::yield_now().await;
                        }
                        crash_after(gate, "all of us").await
                    })
                    .await
            })
        })
        .collect();
    tokio::task::yield_now().await;
    gate.open();
    for task in tasks {
        let payload = task.await.unwrap_err().into_panic();
        assert_eq!(reducer_tests::panic_message(payload), "all of us");
    }
    assert_eq!((runs.get(), reducer.in_flight()), (1, 0));
}
