//! Law 11. A million cancelled calls on distinct keys leave zero entries, and the registry gives its
//! memory back.

use std::sync::Arc;

use reducer_core::Reducer;
use reducer_tests::allocations::{Counting, bytes_in_use};
use reducer_tests::{ByHand, Gate};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[test]
fn a_million_cancelled_calls_leave_neither_rows_nor_memory() {
    let reducer = Reducer::new();
    let before = bytes_in_use();
    for round in 0..10u64 {
        let mut calls: Vec<_> = (0..100_000)
            .map(|n| ByHand::new(reducer.reduce(round * 100_000 + n, std::future::pending::<()>())))
            .collect();
        calls.iter_mut().for_each(|call| {
            call.pending();
        });
        assert_eq!(reducer.in_flight(), 100_000);
        drop(calls);
        assert_eq!(reducer.in_flight(), 0);
    }
    let kept = bytes_in_use() - before;
    assert!(kept < 64 * 1024, "{kept} bytes kept");

    // Joins and leaves of one long flight leave nothing in it.
    let mut long = ByHand::new(reducer.reduce(0, std::future::pending::<()>()));
    long.pending();
    let before = bytes_in_use();
    for _ in 0..100_000 {
        let mut call = ByHand::new(reducer.reduce(0, std::future::pending::<()>()));
        call.pending();
    }
    assert_eq!(bytes_in_use(), before);
    drop(long);

    // Nor do flights that land.
    let before = bytes_in_use();
    for n in 0..1_000u64 {
        let gate = Gate::new();
        let mut call = ByHand::new(reducer.reduce(n, gate.pass()));
        call.pending();
        gate.open();
        call.ready();
    }
    let kept = bytes_in_use() - before;
    assert!(kept < 64 * 1024, "{kept} bytes kept");
}

#[test]
fn an_outcome_goes_with_the_last_who_has_waited_for_it() {
    let (reducer, gate, value) = (Reducer::new(), Gate::new(), Arc::new(7));
    let call = || {
        let (pass, found) = (gate.pass(), Arc::clone(&value));
        ByHand::new(reducer.reduce(1, async move {
            pass.await;
            found
        }))
    };
    let mut callers = [call(), call(), call()];
    for caller in &mut callers {
        caller.pending();
    }
    assert_eq!(Arc::strong_count(&value), 2, "only the leader's work is there");
    gate.open();
    let outcomes = callers.map(|mut caller| caller.ready());
    assert_eq!(Arc::strong_count(&value), 1 + outcomes.len());
}
