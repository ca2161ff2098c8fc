//! Where the work lies: in the flight's own allocation, pinned for good.
//!
//! # Why
//! A `Pin<Box<F>>` needs no `unsafe` and costs every call a second allocation; the contract allows one.
//! The lock is no lock to wait for: whoever has the seat (`phase.rs`) finds it free. It stands in for an
//! `UnsafeCell`, so that the one thing left to argue about here is pinning.
#![allow(
    unsafe_code,
    reason = "pins the work inside its flight; the benchmarks show the allocation it saves"
)]

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::host::Deadline;
use crate::sync::Mutex;

/// Holds the work of one flight. Lives in an `Arc` from its first to its last moment.
pub(crate) struct Berth<F>(Mutex<Hold<F>>);

struct Hold<F> {
    work: Option<F>,
    deadline: Option<Box<Deadline>>,
}

/// What came of a poll.
pub(crate) enum Progress<V> {
    Done(V),
    TimedOut(Deadline),
}

impl<F> Berth<F> {
    pub(crate) fn new() -> Self {
        Self(Mutex::new(Hold { work: None, deadline: None }))
    }

    /// Takes the work in. Only once, before the first poll.
    pub(crate) fn board(&self, work: F, deadline: Option<Deadline>) {
        let mut hold = self.0.try_lock().expect("the leader has the seat until it boards");
        assert!(hold.work.is_none(), "a flight is boarded once");
        *hold = Hold { work: Some(work), deadline: deadline.map(Box::new) };
    }

    /// Polls the work.
    ///
    /// # Safety
    /// The berth never moves again: its flight was made inside an `Arc`, and nothing takes it out.
    pub(crate) unsafe fn poll(&self, cx: &mut Context<'_>) -> Poll<Progress<F::Output>>
    where
        F: Future,
    {
        let mut hold = self.0.try_lock().expect("one at a time has the seat");
        let Hold { work, deadline } = &mut *hold;
        let work =
            work.as_mut().expect("the work stays until it is cleared, and then nobody polls");
        // SAFETY: the berth stays where it is (see above), nothing moves `work` out of it (`clear` drops
        // it in place), and it is dropped before its memory goes, with the flight.
        let work = unsafe { Pin::new_unchecked(work) };
        if let Poll::Ready(value) = work.poll(cx) {
            return Poll::Ready(Progress::Done(value));
        }
        if deadline.as_mut().is_some_and(|at| at.poll_passed(cx).is_ready()) {
            let passed = deadline.take().expect("it has just been polled");
            return Poll::Ready(Progress::TimedOut(*passed));
        }
        Poll::Pending
    }

    /// Drops the work where it lies.
    pub(crate) fn clear(&self) {
        let mut hold = self.0.try_lock().expect("one at a time has the seat");
        hold.deadline = None;
        hold.work = None;
    }
}

impl<F> fmt::Debug for Berth<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Berth").finish_non_exhaustive()
    }
}
