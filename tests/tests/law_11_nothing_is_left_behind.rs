//! Law 11. A million cancelled calls on distinct keys leave zero entries, and the registry gives its
//! memory back.

use std::alloc::{GlobalAlloc, Layout, System};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};

use reducer_core::Reducer;
use reducer_tests::{ByHand, Gate};

static IN_USE: AtomicIsize = AtomicIsize::new(0);

struct Counting;

#[allow(unsafe_code, reason = "a counting allocator hands everything to the system's")]
// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as isize, Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as isize, Relaxed);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// One test, for the count is the process's.
#[test]
fn a_million_cancelled_calls_leave_neither_rows_nor_memory() {
    let reducer = Reducer::new();
    let before = IN_USE.load(Relaxed);
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
    let kept = IN_USE.load(Relaxed) - before;
    assert!(kept < 64 * 1024, "{kept} bytes kept");

    // Joins and leaves of one long flight leave nothing in it.
    let mut long = ByHand::new(reducer.reduce(0, std::future::pending::<()>()));
    long.pending();
    let before = IN_USE.load(Relaxed);
    for _ in 0..100_000 {
        let mut call = ByHand::new(reducer.reduce(0, std::future::pending::<()>()));
        call.pending();
    }
    assert_eq!(IN_USE.load(Relaxed), before);
    drop(long);

    // Nor do flights that land.
    let before = IN_USE.load(Relaxed);
    for n in 0..1_000u64 {
        let gate = Gate::new();
        let mut call = ByHand::new(reducer.reduce(n, gate.pass()));
        call.pending();
        gate.open();
        call.ready();
    }
    let kept = IN_USE.load(Relaxed) - before;
    assert!(kept < 64 * 1024, "{kept} bytes kept");
}
