//! Where the work lies: in the flight's own allocation, pinned for good.
//!
//! Only whoever has the seat (`phase.rs`) touches it, so there is no lock. Two things are to be argued,
//! and each function asks for both: *the seat*, which gives the work to one thread at a time, and *the
//! place*, an `Arc` that the flight never leaves.
//!
//! # Why
//! A `Pin<Box<F>>` behind a mutex needs no `unsafe`, and costs every call a second allocation (the
//! contract allows one) and three more lock operations. loom checks the seat: this is its `UnsafeCell`.
#![allow(
    unsafe_code,
    reason = "pins the work inside its flight; the module's text says what that buys"
)]

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use super::host::Deadline;
use crate::sync::UnsafeCell;

/// Holds the work of one flight.
pub(crate) struct Berth<F>(UnsafeCell<Hold<F>>);

struct Hold<F> {
    work: Option<F>,
    deadline: Option<Box<Deadline>>,
}

// SAFETY: a `&Berth` alone gives no access; whoever has the seat has the only one, and takes it from the
// last holder through the lock of the flight's state. So the work is only ever sent, not shared.
unsafe impl<F: Send> Sync for Berth<F> {}

/// What came of a poll.
pub(crate) enum Progress<V> {
    Done(V),
    TimedOut(Deadline),
    /// The clock panicked: its runtime is gone.
    NoClock(Box<dyn Any + Send>),
}

impl<F> Berth<F> {
    pub(crate) fn new() -> Self {
        Self(UnsafeCell::new(Hold { work: None, deadline: None }))
    }

    /// Takes the work in. Only once, before the first poll.
    ///
    /// # Safety
    /// The caller has the seat.
    pub(crate) unsafe fn board(&self, work: F, deadline: Option<Deadline>) {
        self.0.with_mut(|hold| {
            // SAFETY: the seat.
            let hold = unsafe { &mut *hold };
            assert!(hold.work.is_none(), "a flight is boarded once");
            *hold = Hold { work: Some(work), deadline: deadline.map(Box::new) };
        });
    }

    /// Polls the work.
    ///
    /// # Safety
    /// The caller has the seat, and the berth never moves again: its flight was made inside an `Arc`, and
    /// nothing takes it out.
    pub(crate) unsafe fn poll(&self, cx: &mut Context<'_>) -> Poll<Progress<F::Output>>
    where
        F: Future,
    {
        self.0.with_mut(|hold| {
            // SAFETY: the seat.
            let Hold { work, deadline } = unsafe { &mut *hold };
            let work =
                work.as_mut().expect("the work stays until it is cleared, and then nobody polls");
            // SAFETY: the place. Nothing moves `work` out of it (`clear` drops it there), and it is dropped
            // before its memory goes, with the flight.
            let work = unsafe { Pin::new_unchecked(work) };
            if let Poll::Ready(value) = work.poll(cx) {
                return Poll::Ready(Progress::Done(value));
            }
            let Some(at) = deadline else { return Poll::Pending };
            match catch_unwind(AssertUnwindSafe(|| at.poll_passed(cx))) {
                Ok(Poll::Pending) => Poll::Pending,
                Ok(Poll::Ready(())) => {
                    let passed = deadline.take().expect("it has just been polled");
                    Poll::Ready(Progress::TimedOut(*passed))
                }
                Err(payload) => Poll::Ready(Progress::NoClock(payload)),
            }
        })
    }

    /// Drops the work where it lies.
    ///
    /// # Safety
    /// The caller has the seat.
    pub(crate) unsafe fn clear(&self) {
        self.0.with_mut(|hold| {
            // SAFETY: the seat.
            let hold = unsafe { &mut *hold };
            hold.deadline = None;
            // A destructor that panics leaves `None` behind all the same.
            hold.work = None;
        });
    }
}

impl<F> fmt::Debug for Berth<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Berth").finish_non_exhaustive()
    }
}
