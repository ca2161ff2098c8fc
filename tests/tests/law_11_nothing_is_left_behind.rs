//! Law 11. A million cancelled calls on distinct keys leave zero entries, and the registry gives its
//! memory back.

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
