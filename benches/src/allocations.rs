//! An allocator that counts, under all that is measured here.
//!
//! By thread, so that counting costs next to nothing; what another thread does is not in the numbers of this one.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    /// Allocations so far, and bytes in use.
    static COUNTS: Cell<(u64, i64)> = const { Cell::new((0, 0)) };
}

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn count(allocations: u64, bytes: i64) {
    // A thread that ends still frees.
    let _ = COUNTS.try_with(|counts| {
        let (all, in_use) = counts.get();
        counts.set((all + allocations, in_use + bytes));
    });
}

#[allow(unsafe_code, reason = "a counting allocator hands everything to the system's")]
// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(1, layout.size() as i64);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(0, -(layout.size() as i64));
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count(1, size as i64 - layout.size() as i64);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.realloc(ptr, layout, size) }
    }
}

/// How often this thread has allocated.
#[must_use]
pub fn allocations() -> u64 {
    COUNTS.get().0
}

/// What this thread has allocated less what it has freed.
#[must_use]
pub fn bytes_in_use() -> i64 {
    COUNTS.get().1
}
