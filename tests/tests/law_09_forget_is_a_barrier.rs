//! Law 9. A call that begins after `forget` never gets an outcome of work begun before it; those already
//! waiting still get theirs; a landing flight removes only itself.

use reducer_core::Reducer;
use reducer_tests::{ByHand, Gate};

fn read(
    reducer: &Reducer,
    gate: &Gate,
    value: &'static str,
) -> ByHand<impl Future<Output = &'static str>> {
    let gate = gate.clone();
    ByHand::new(reducer.reduce_with("row", move || async move {
        gate.pass().await;
        value
    }))
}

#[test]
fn calls_after_it_start_anew_and_calls_before_it_get_theirs() {
    let reducer = Reducer::new();
    let (old_gate, new_gate) = (Gate::new(), Gate::new());
    let mut before = [read(&reducer, &old_gate, "old"), read(&reducer, &old_gate, "old")];
    before.iter_mut().for_each(|task| {
        task.pending();
    });
    assert!(reducer.forget(&"row"));
    assert!(!reducer.is_in_flight(&"row"));
    let mut after = [read(&reducer, &new_gate, "new"), read(&reducer, &new_gate, "new")];
    after.iter_mut().for_each(|task| {
        task.pending();
    });
    new_gate.open();
    after.iter_mut().for_each(|task| assert_eq!(task.ready(), "new"));
    old_gate.open();
    before.iter_mut().for_each(|task| assert_eq!(task.ready(), "old"));
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn a_forgotten_flight_that_lands_leaves_its_successors_row_alone() {
    let reducer = Reducer::new();
    let (old_gate, new_gate) = (Gate::new(), Gate::new());
    let mut old = read(&reducer, &old_gate, "old");
    old.pending();
    reducer.forget(&"row");
    let mut new = read(&reducer, &new_gate, "new");
    new.pending();
    old_gate.open();
    assert_eq!(old.ready(), "old");
    assert!(reducer.is_in_flight(&"row"), "the new flight kept its row");
    let mut joins = read(&reducer, &old_gate, "a third");
    joins.pending();
    new_gate.open();
    assert_eq!((new.ready(), joins.ready()), ("new", "new"));
}

#[test]
fn a_forgotten_flight_that_is_abandoned_leaves_its_successors_row_alone() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut old = read(&reducer, &gate, "old");
    old.pending();
    reducer.forget(&"row");
    let mut new = read(&reducer, &gate, "new");
    new.pending();
    drop(old);
    assert!(reducer.is_in_flight(&"row"));
}

#[test]
fn a_flight_may_forget_itself() {
    let reducer = Reducer::new();
    let inner = reducer.clone();
    let mut call = ByHand::new(reducer.reduce(1, async move {
        assert!(inner.forget(&1));
        // And so its own key is free to be called for.
        inner.reduce(1, async { "inner" }).await
    }));
    assert_eq!(call.ready(), "inner");
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn there_may_be_nothing_to_forget() {
    let reducer = Reducer::new();
    assert!(!reducer.forget(&"row"));
    let mut call = ByHand::new(reducer.reduce(1, std::future::pending::<()>()));
    call.pending();
    assert!(!reducer.forget(&2));
    assert!(!reducer.forget(&1u64), "another type, another key");
    assert!(reducer.forget(&1));
    assert!(!reducer.forget(&1));
}

#[test]
fn it_lets_go_of_every_function_with_that_key() {
    let reducer = Reducer::new();
    let (one, other) = (
        reducer.wrap(|_: u8| std::future::pending::<u8>()),
        reducer.wrap(|_: u8| std::future::pending::<u16>()),
    );
    let (mut a, mut b) = (ByHand::new(one(7)), ByHand::new(other(7)));
    a.pending();
    b.pending();
    assert_eq!(reducer.in_flight(), 2);
    assert!(reducer.forget(&7u8));
    assert_eq!(reducer.in_flight(), 0);
}
