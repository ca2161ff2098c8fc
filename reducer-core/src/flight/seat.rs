//! The right to poll the work, given up on every way out.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use super::host::Home;
use super::phase::{State, end};
use super::waiters::Waiter;
use super::{Hold, Rows, run, waker};
use crate::error::ReduceError;
use crate::sync::MutexGuard;

/// See the module.
pub(crate) struct Seat<'a> {
    flight: &'a Hold,
    rows: &'a Rows,
}

impl<'a> Seat<'a> {
    /// For the one whom `turn` told to drive, or who leads and has not been polled yet.
    #[inline(always)]
    pub(crate) fn new(flight: &'a Hold, rows: &'a Rows) -> Self {
        Self { flight, rows }
    }

    /// Polls the work, for one of the callers of a flight of such values, with `first` before it. When that comes to
    /// something the flight has landed, and with it the seat is gone; the value, or what it `failed` with, is here if nobody
    /// else wants it.
    #[inline(always)]
    pub(crate) fn drive<V: 'static>(
        self,
        home: Option<Home>,
        failed: &mut Option<ReduceError>,
        first: impl FnOnce(&Hold),
    ) -> Result<Option<V>, Self> {
        let polled = {
            let _entered = home.as_ref().map(Home::enter);
            let waker = waker::waker(self.flight);
            let mut cx = Context::from_waker(waker.get());
            run::<V>(self.flight, &mut cx, self.rows, failed, || first(self.flight))
        };
        match polled {
            Poll::Pending => Err(self),
            Poll::Ready(value) => {
                // Whoever is woken by the landing is not inside of the flight any more.
                let left = self.flight.land(value, failed, self.rows, true);
                mem::forget(self);
                Ok(left)
            }
        }
    }

    /// Stays with the caller, to be given up by another of its kind.
    #[inline(always)]
    pub(crate) fn keep(self) {
        mem::forget(self);
    }

    /// The work is not ready; wait like everybody else.
    #[inline(always)]
    pub(crate) fn give_up(self, waiter: Pin<&Waiter>, cx: &mut Context<'_>) {
        if self.flight.core().word.leave_seat_alone() {
            // Nobody else is there to be called, and who comes now finds the work awake.
            mem::forget(self);
            cx.waker().wake_by_ref();
        } else {
            self.wait(waiter, cx);
        }
    }

    #[inline(never)]
    fn wait(self, waiter: Pin<&Waiter>, cx: &mut Context<'_>) {
        let waker = cx.waker().clone();
        let Self { flight, rows } = self;
        // From here on nothing can panic before the seat is free.
        mem::forget(self);
        // The work will be polled again: where it began is known here, and nowhere later.
        if let Some(waker) = flight.core().go_away(waiter, waker) {
            wait_among_others(flight, rows, waiter, waker);
        }
    }

    /// As `drive`, for the flight's own task, which does not know the values. `None` if the flight has landed.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn drive_as_host(self) -> Option<Self> {
        let waker = waker::waker(self.flight);
        let mut cx = Context::from_waker(waker.get());
        match (self.flight.core().kit.step)(self.flight, &mut cx, self.rows) {
            Poll::Pending => Some(self),
            Poll::Ready(()) => {
                mem::forget(self);
                None
            }
        }
    }

    /// As `give_up`, for the flight's own task.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn give_up_as_host(self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let Self { flight, rows } = self;
        mem::forget(self);
        let mut state = flight.core().lock();
        let old = state.wait_as_host(waker);
        if leave(flight, state, old) {
            return Poll::Pending;
        }
        // The last caller left meanwhile, and leaves the end to us.
        end(flight, rows);
        Poll::Ready(())
    }
}

/// Who has the seat, and is a caller, gets in line.
#[inline(never)]
fn wait_among_others(flight: &Hold, rows: &Rows, waiter: Pin<&Waiter>, waker: Waker) {
    let core = flight.core();
    let mut state = core.lock();
    let seen = core.word.seen();
    let may_move = seen.callers() > 1 || seen.is_detached();
    let side = state.settle(core, seen, may_move, waiter.parks, || rows.share());
    let old = state.register(waiter, side, waker);
    // A caller is here, so it goes on.
    let _ = leave(flight, state, old);
}

/// Frees the seat, and calls whoever may go on if the work is awake. Not if nobody is left to want that: then the seat stays
/// ours.
fn leave(flight: &Hold, mut state: MutexGuard<'_, State>, old: Option<Waker>) -> bool {
    let word = &flight.core().word;
    let left = word.leave_seat();
    let calls = left.is_ok_and(|before| before.is_notified()).then(|| state.call(flight.core()));
    drop(state);
    if let Some(calls) = calls {
        calls.make_for(flight);
    }
    // Last, for a waker's destructor may panic.
    drop(old);
    left.is_ok()
}

impl Drop for Seat<'_> {
    /// The holder panicked: its waker while it was cloned, as a rule. Whoever comes next looks for itself.
    #[cold]
    fn drop(&mut self) {
        let mut state = self.flight.core().lock();
        match self.flight.core().word.give_back_seat() {
            Ok(_) => {
                let calls = state.call(self.flight.core());
                drop(state);
                calls.make_for(self.flight);
            }
            Err(seen) => {
                drop(state);
                if !seen.is_over() {
                    end(self.flight, self.rows);
                }
            }
        }
    }
}
