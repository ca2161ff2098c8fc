//! Law 1. Calls that overlap and have equal keys run the work once; each gets a clone of its outcome.
//! When it has landed the next call starts afresh.

use reducer_core::{Reducer, Role};
use reducer_tests::{ByHand, Count, Gate, never_runs, settle};

/// async-reduce's own test: so many calls at once, and the same again when they are done.
fn simultaneous_calls_run_once(calls: usize) {
    let reducer = Reducer::new();
    let runs = Count::new();
    for round in 1..=2 {
        let gate = Gate::new();
        let mut tasks: Vec<_> = (0..calls)
            .map(|_| {
                let (runs, gate) = (runs.clone(), gate.clone());
                ByHand::new(reducer.reduce("key", async move {
                    let run = runs.add();
                    gate.pass().await;
                    format!("run {run}")
                }))
            })
            .collect();
        for task in &mut tasks {
            task.pending();
        }
        assert_eq!((runs.get(), reducer.in_flight()), (round, 1));
        gate.open();
        let expected = format!("run {}", round - 1);
        for outcome in settle(&mut tasks) {
            assert_eq!(outcome.as_deref(), Some(expected.as_str()));
        }
        assert_eq!(reducer.in_flight(), 0);
    }
    assert_eq!(runs.get(), 2);
}

macro_rules! simultaneous {
    ($($name:ident: $calls:literal,)*) => {
        $(#[test] fn $name() { simultaneous_calls_run_once($calls); })*
    };
}

simultaneous! {
    one_call_runs_once: 1,
    two_calls_run_once: 2,
    five_calls_run_once: 5,
    ten_calls_run_once: 10,
    a_hundred_calls_run_once: 100,
    a_thousand_calls_run_once: 1000,
}

#[test]
fn an_err_is_an_outcome_like_any_other() {
    let reducer = Reducer::new();
    let runs = Count::new();
    let gate = Gate::new();
    let mut tasks: Vec<_> = (0..10)
        .map(|_| {
            let (runs, gate) = (runs.clone(), gate.clone());
            ByHand::new(reducer.reduce(1, async move {
                runs.add();
                gate.pass().await;
                Err::<(), _>("no such row")
            }))
        })
        .collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    gate.open();
    assert!(settle(&mut tasks).into_iter().all(|outcome| outcome == Some(Err("no such row"))));
    assert_eq!(runs.get(), 1);
}

#[test]
fn calls_one_after_another_each_run() {
    let reducer = Reducer::new();
    let values: Vec<_> =
        (0..3).map(|n| ByHand::new(reducer.reduce("key", async move { n })).ready()).collect();
    assert_eq!(values, [0, 1, 2]);
}

#[test]
fn the_first_call_leads_and_the_rest_join() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut tasks: Vec<_> =
        (0..3).map(|_| ByHand::new(reducer.try_reduce(0, gate.pass()))).collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    gate.open();
    let roles: Vec<_> =
        settle(&mut tasks).into_iter().map(|done| done.unwrap().unwrap().role).collect();
    assert_eq!(roles, [Role::Led, Role::Joined, Role::Joined]);
}

#[test]
fn clones_of_a_reducer_share_its_flights() {
    let reducer = Reducer::new();
    let twin = reducer.clone();
    let gate = Gate::new();
    let mut lead = ByHand::new(reducer.reduce(1, gate.pass()));
    lead.pending();
    assert!(twin.is_in_flight(&1));
    let mut follow = ByHand::new(twin.reduce(1, never_runs::<()>()));
    follow.pending();
    gate.open();
    lead.ready();
    follow.ready();
}

#[test]
fn whoever_has_the_outcome_finds_the_key_free() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut a = ByHand::new(reducer.reduce(1, gate.pass()));
    let mut b = ByHand::new(reducer.reduce(1, gate.pass()));
    a.pending();
    b.pending();
    gate.open();
    b.ready();
    assert!(!reducer.is_in_flight(&1));
    assert!(ByHand::new(reducer.reduce(1, async {})).poll().is_ready(), "a new flight");
    a.ready();
}

#[test]
fn a_call_that_is_never_polled_does_nothing() {
    let reducer = Reducer::new();
    let call = reducer.reduce_with(1, || -> std::future::Ready<()> { panic!("not polled") });
    assert_eq!(reducer.in_flight(), 0);
    drop(call);
}

#[test]
fn only_the_leader_builds_its_work() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let built = Count::new();
    let mut tasks: Vec<_> = (0..10)
        .map(|_| {
            ByHand::new(reducer.reduce_with(1, || {
                built.add();
                gate.pass()
            }))
        })
        .collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    assert_eq!(built.get(), 1);
}
