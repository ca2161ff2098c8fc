//! An allocator that counts, for the tests that install it.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Allocations so far, and bytes in use. Of this thread; other tests have their own.
    static COUNTS: Cell<(usize, isize)> = const { Cell::new((0, 0)) };
}

/// `#[global_allocator] static ALLOCATOR: Counting = Counting;`
#[derive(Clone, Copy, Debug)]
pub struct Counting;

fn count(allocations: usize, bytes: isize) {
    let _ = COUNTS.try_with(|counts| {
        let (all, in_use) = counts.get();
        counts.set((all + allocations, in_use + bytes));
    });
}

#[allow(unsafe_code, reason = "a counting allocator hands everything to the system's")]
// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as isize);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, -(layout.size() as isize));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}

/// How many allocations `act` makes on this thread.
pub fn allocations<T>(act: impl FnOnce() -> T) -> (usize, T) {
    let before = COUNTS.get().0;
    let out = act();
    (COUNTS.get().0 - before, out)
}

/// What this thread has allocated less what it has freed.
#[must_use]
pub fn bytes_in_use() -> isize {
    COUNTS.get().1
}
