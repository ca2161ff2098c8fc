//! A hold on a flight: keeps its memory, and is one word.
//!
//! The count lies in the flight's core, which comes first in its allocation and knows its kit (`berth.rs`). A waker of the flight is a hold as well; so is its row in the table.
//!
//! # Why
//! It was an `Arc<dyn Craft>`. That is two words in every row, every caller and every edge; it asks the
//! vtable for the core; it cannot be what a `RawWaker` carries; and it counts where there is nothing to
//! be counted: who makes a flight holds it twice, for itself and for the row, and who lands one alone holds
//! both again. DESIGN.md has the figures.
#![allow(unsafe_code, reason = "an `Arc` of one word; the module's text says what that buys")]

use std::mem::{self, ManuallyDrop};
use std::process::abort;
use std::ptr::{self, NonNull};

use super::{Core, Hulled, Row};
use crate::sync::{AtomicU32, Ordering};

/// How often a flight is held.
pub(super) struct Count(AtomicU32);

impl Count {
    /// By who makes the flight: for the leader, and the row.
    #[inline(always)]
    pub(super) fn two() -> Self {
        Self(AtomicU32::new(2))
    }
}

/// See the module.
pub(crate) struct Hold(NonNull<Core>);

// SAFETY: a hold is an `Arc` of a flight, and `of` asks for one that may be sent and shared.
unsafe impl Send for Hold {}
// SAFETY: as above.
unsafe impl Sync for Hold {}

impl Hold {
    /// The holds on a flight that has just been made, whose core counts two.
    ///
    /// # Safety
    /// `flight` begins with its core, whose kit is the one that it was allocated by.
    #[inline(always)]
    pub(super) unsafe fn both(flight: *mut Core) -> (Self, Row) {
        // A pointer to all of the flight, not only to the core.
        // SAFETY: it was allocated, so not null.
        let flight = unsafe { NonNull::new_unchecked(flight) };
        (Self(flight), Row(Self(flight)))
    }

    #[inline(always)]
    pub(crate) fn core(&self) -> &Core {
        // SAFETY: the flight lives for as long as it is held.
        unsafe { self.0.as_ref() }
    }

    #[inline(always)]
    pub(super) fn as_ptr(&self) -> *mut Core {
        self.0.as_ptr()
    }

    /// What is known of the flight whatever its work.
    #[inline]
    pub(crate) fn hull(&self) -> &dyn Hulled {
        // SAFETY: the flight lives for as long as it is held, and `of` was promised that the kit is right.
        unsafe { &*(self.core().kit.hull)(self.as_ptr()) }
    }

    /// Where the flight lies: what tells it from all others for as long as it is held.
    pub(crate) fn address(&self) -> *const () {
        self.0.as_ptr().cast()
    }

    /// Drops `other`, a hold on the same flight. If these two are all there are, that needs no atomic operation
    /// either.
    ///
    /// # Safety
    /// No other thread uses `self` meanwhile.
    #[inline(always)]
    pub(super) unsafe fn absorb(&self, other: Self) {
        debug_assert!(same(self, &other), "a hold on another flight");
        // Acquire, as in `is_last`.
        if self.core().count.0.load(Ordering::Acquire) == 2 {
            // Both are ours, so nobody is there who could count.
            self.core().count.0.store(1, Ordering::Relaxed);
            mem::forget(other);
        }
    }

    /// Whether nobody else holds the flight: no caller, no row, no waker, no edge. Then it stays so until this
    /// one is cloned, and all that they did has happened.
    #[inline(always)]
    pub(crate) fn is_last(&self) -> bool {
        // Acquire: pairs with the Release of who dropped theirs.
        self.core().count.0.load(Ordering::Acquire) == 1
    }

    /// For a waker, which is what it becomes: see `from_raw`.
    pub(super) fn into_raw(self) -> *const () {
        ManuallyDrop::new(self).address()
    }

    /// # Safety
    /// `flight` is from `into_raw`, or the `address` of a hold that outlives the one that is made here and that is
    /// then not dropped.
    pub(super) unsafe fn from_raw(flight: *const ()) -> Self {
        // SAFETY: never null.
        Self(unsafe { NonNull::new_unchecked(flight.cast::<Core>().cast_mut()) })
    }
}

impl Clone for Hold {
    #[inline(always)]
    fn clone(&self) -> Self {
        // Relaxed: who makes a second hold has a first. As `Arc` does.
        let before = self.core().count.0.fetch_add(1, Ordering::Relaxed);
        // Wakers can be forgotten in a loop, of billions.
        if before > i32::MAX as u32 {
            abort();
        }
        Self(self.0)
    }
}

/// The last one ends the flight, and never panics, whatever that runs.
impl Drop for Hold {
    #[inline(always)]
    fn drop(&mut self) {
        if !self.is_last() {
            // Release: what was done with the flight comes before its end.
            if self.core().count.0.fetch_sub(1, Ordering::Release) != 1 {
                return;
            }
            // Acquire: so does what the others did. A load, and no fence, which the thread sanitizer does not see.
            self.core().count.0.load(Ordering::Acquire);
        }
        // SAFETY: the last hold, and its end.
        unsafe { self.scrap() };
    }
}

/// Whether two holds are on one flight.
pub(crate) fn same(a: &Hold, b: &Hold) -> bool {
    ptr::eq(a.address(), b.address())
}
