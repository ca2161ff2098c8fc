//! Where the work lies: in the flight's own allocation, pinned for good.
//!
//! Only whoever has the seat (`phase.rs`) touches it, so there is no lock. Two things are to be argued,
//! and each function asks for both: *the seat*, which gives the work to one thread at a time, and *the
//! place*, a box that the flight never leaves.
//!
//! # Why
//! A `Pin<Box<F>>` behind a mutex needs no `unsafe`, and costs every call a second allocation (the
//! contract allows one) and three more lock operations. loom checks the seat: this is its `UnsafeCell`.
#![allow(
    unsafe_code,
    reason = "pins the work inside its flight; the module's text says what that buys"
)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use crate::sync::{UnsafeCell, access};

/// Holds the work of one flight, or its clock.
pub(crate) struct Berth<F>(pub(super) UnsafeCell<Option<F>>);

// SAFETY: a `&Berth` alone gives no access; whoever has the seat has the only one, and takes it from the
// last holder through the lock of the flight's state. So the work is only ever sent, not shared.
unsafe impl<F: Send> Sync for Berth<F> {}

/// A berth whose work comes to a `V`.
pub(crate) trait Bound<V> {
    /// Polls the work. When it is done, what it came to is put into `value`, and then the work is dropped,
    /// which may panic. `None` if there is none.
    ///
    /// # Safety
    /// The caller has the seat, and the berth never moves again: its flight was made inside of a box, and
    /// nothing takes it out.
    unsafe fn poll(&self, cx: &mut Context<'_>, value: &mut Option<V>) -> Option<Poll<()>>;
}

impl<F> Berth<F> {
    /// Takes the work in. Only once, before the first poll.
    ///
    /// # Safety
    /// The caller has the seat.
    pub(crate) unsafe fn board(&self, work: F) {
        // SAFETY: the seat.
        let old = unsafe { access!(self.0).replace(work) };
        debug_assert!(old.is_none(), "a flight is boarded once");
    }

    /// Whether there is anything in it.
    ///
    /// # Safety
    /// The caller has the seat.
    pub(crate) unsafe fn is_taken(&self) -> bool {
        // SAFETY: the seat.
        unsafe { access!(self.0).as_mut().is_some() }
    }

    /// Drops the work where it lies.
    ///
    /// # Safety
    /// The caller has the seat.
    pub(crate) unsafe fn clear(&self) {
        // SAFETY: the seat. A destructor that panics leaves `None` behind all the same.
        unsafe { *access!(self.0) = None };
    }
}

impl<F: Future> Bound<F::Output> for Berth<F> {
    unsafe fn poll(&self, cx: &mut Context<'_>, value: &mut Option<F::Output>) -> Option<Poll<()>> {
        // SAFETY: the seat; and the place. Nothing moves the work out of it (it is dropped there), and it is
        // dropped before its memory goes, with the flight.
        unsafe {
            let polled = match access!(self.0) {
                Some(work) => Pin::new_unchecked(work).poll(cx),
                None => return None,
            };
            let Poll::Ready(done) = polled else { return Some(Poll::Pending) };
            *value = Some(done);
            self.clear();
        }
        Some(Poll::Ready(()))
    }
}

impl<F> fmt::Debug for Berth<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Berth").finish_non_exhaustive()
    }
}
