//! What only some flights have, behind their berth: those that somebody is to be told of, and those that have a clock.

use std::any::Any;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
// Not loom's: it is changed under a lock.
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use super::berth::Seated;
use super::host::Deadline;
use super::trace::FlightSpan;
use super::word::Join;
use super::{Hold, Log};

/// See the module.
pub(crate) struct Tail {
    log: Log,
    /// All that have ever been followers. Changed under the flight's lock.
    joined: AtomicU32,
    clock: Seated<Option<Box<Deadline>>>,
}

impl Tail {
    /// Of a flight with this `log`, that is `timed` or not; if it needs one.
    #[inline(always)]
    pub(crate) fn of(log: Log, timed: bool) -> Option<Self> {
        (FlightSpan::IS_ON || timed || log.number != 0).then(|| Self {
            log,
            joined: AtomicU32::new(0),
            clock: Seated::new(None),
        })
    }
}

impl Hold {
    /// Whether there is anybody to be told of this flight.
    #[inline(always)]
    pub(super) fn is_watched(&self) -> bool {
        FlightSpan::IS_ON || self.tail().is_some_and(|tail| tail.log.number != 0)
    }

    pub(super) fn log(&self) -> Log {
        self.tail().map_or_else(Log::default, |tail| tail.log)
    }

    pub(super) fn joined(&self) -> u32 {
        self.tail().map_or(0, |tail| tail.joined.load(Ordering::Relaxed))
    }

    /// How many have joined, which are now all that ever will.
    pub(super) fn close_to_joins(&self) -> u32 {
        let _state = self.core().lock();
        self.core().word.close_to_joins();
        self.joined()
    }

    /// One more follower, if the flight still takes any and has fewer than `limit`.
    #[inline(always)]
    pub(crate) fn join(&self, limit: usize) -> Join {
        if self.is_watched() { self.join_watched(limit) } else { self.core().word.join(limit) }
    }

    #[cold]
    fn join_watched(&self, limit: usize) -> Join {
        let _state = self.core().lock();
        let join = self.core().word.join(limit);
        if let (Join::Joined, Some(tail)) = (&join, self.tail()) {
            // Those who have left are in it, so a flight that lasts may come to the end of it.
            let joined = tail.joined.load(Ordering::Relaxed).saturating_add(1);
            tail.joined.store(joined, Ordering::Relaxed);
        }
        join
    }

    /// Whether the flight's time is over, and how long it was; or what the clock said when it panicked, as
    /// it does when its runtime is gone. By who has the seat.
    #[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
    pub(super) fn poll_clock(
        &self,
        cx: &mut Context<'_>,
    ) -> Option<Result<Duration, Box<dyn Any + Send>>> {
        let ask = |clock: &mut Option<Box<Deadline>>| match Pin::new(clock.as_mut()?).poll(cx) {
            Poll::Ready(limit) => Some(limit),
            Poll::Pending => None,
        };
        let clock = &self.tail()?.clock;
        // SAFETY: the caller has the seat.
        match catch_unwind(AssertUnwindSafe(|| unsafe { clock.with(ask) })) {
            Ok(limit) => limit.map(Ok),
            Err(payload) => Some(Err(payload)),
        }
    }

    /// Gives the flight, which was launched as a timed one, its time, from now. By who has the seat. tokio panics where
    /// a runtime has no clock.
    #[cold]
    #[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
    pub(super) fn set_clock(&self, timeout: Duration) {
        let tail = self.tail().expect("launched as a timed one");
        let clock = Box::new(Deadline::after(timeout));
        // SAFETY: the caller has the seat.
        unsafe { tail.clock.with(|place| *place = Some(clock)) };
    }

    /// By who has the seat.
    #[inline(always)]
    #[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
    pub(super) fn has_clock(&self) -> bool {
        // SAFETY: the caller has the seat.
        self.tail().is_some_and(|tail| unsafe { tail.clock.with(|clock| clock.is_some()) })
    }

    /// By who has the seat. The clock has a waker of the flight, and would keep it for ever.
    #[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
    pub(super) fn stop_clock(&self) {
        // SAFETY: the caller has the seat.
        drop(self.tail().and_then(|tail| unsafe { tail.clock.with(Option::take) }));
    }
}
