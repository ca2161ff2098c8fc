//! A task of its own for a flight that many wait on, and the clock for `timeout`: all that needs tokio.
//!
//! The work stays in its flight; the task only polls it. So a runtime that dies takes no work with it:
//! the task's `Drop` hands the flight back to its callers, wherever they are.

#[cfg(all(feature = "tokio", not(loom)))]
mod imp {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use tokio::runtime::Handle;
    use tokio::time::Sleep;

    use crate::error::NoRuntime;
    use crate::flight::phase::{self, Turn};
    use crate::flight::{Craft, Rows};

    /// Where a flight can move to.
    #[derive(Clone)]
    pub(crate) struct Lift {
        runtime: Handle,
        rows: Arc<dyn Rows>,
    }

    impl Lift {
        /// A lift to the runtime we are in, if we are in one.
        pub(crate) fn here(rows: impl FnOnce() -> Arc<dyn Rows>) -> Option<Self> {
            let runtime = Handle::try_current().ok()?;
            Some(Self { runtime, rows: rows() })
        }

        /// Whether we are in the lift's runtime.
        pub(crate) fn leads_here(&self) -> bool {
            Handle::try_current().is_ok_and(|here| here.id() == self.runtime.id())
        }

        /// Gives `flight` a task of its own.
        pub(crate) fn carry(self, flight: Arc<dyn Craft>) {
            let Self { runtime, rows } = self;
            // Detached from its handle: the task ends with the flight.
            drop(runtime.spawn(Host { flight, rows }));
        }
    }

    /// The task that polls a flight.
    struct Host {
        flight: Arc<dyn Craft>,
        rows: Arc<dyn Rows>,
    }

    impl Future for Host {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            match self.flight.core().turn_of_host(cx) {
                Turn::Over => Poll::Ready(()),
                Turn::Wait => Poll::Pending,
                Turn::Drive => match phase::Seat::new(&self.flight, &*self.rows).drive(None) {
                    Some(seat) => seat.give_up_as_host(cx),
                    None => Poll::Ready(()),
                },
            }
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            phase::host_is_gone(&self.flight, &*self.rows);
        }
    }

    /// When a flight's time is over.
    pub(crate) struct Deadline {
        after: Duration,
        sleep: Pin<Box<Sleep>>,
    }

    impl Deadline {
        /// The end of a flight that starts now.
        pub(crate) fn after(after: Duration) -> Self {
            Self { after, sleep: Box::pin(tokio::time::sleep(after)) }
        }

        pub(crate) fn poll_passed(&mut self, cx: &mut Context<'_>) -> Poll<()> {
            self.sleep.as_mut().poll(cx)
        }

        pub(crate) fn duration(&self) -> Duration {
            self.after
        }
    }

    /// An error that names `option` unless there is a runtime here.
    pub(crate) fn require_runtime(option: &'static str) -> Result<(), NoRuntime> {
        Handle::try_current().map(drop).map_err(|_| NoRuntime::new(option))
    }
}

#[cfg(not(all(feature = "tokio", not(loom))))]
mod imp {
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use std::time::Duration;

    use crate::flight::{Craft, Rows};

    /// There is nowhere to move to: nobody makes one.
    #[derive(Clone)]
    pub(crate) struct Lift(());

    impl Lift {
        pub(crate) fn here(_: impl FnOnce() -> Arc<dyn Rows>) -> Option<Self> {
            None
        }

        pub(crate) fn leads_here(&self) -> bool {
            false
        }

        pub(crate) fn carry(self, _: Arc<dyn Craft>) {}
    }

    /// There is no clock: nobody makes one.
    pub(crate) struct Deadline(());

    impl Deadline {
        pub(crate) fn poll_passed(&mut self, _: &mut Context<'_>) -> Poll<()> {
            Poll::Pending
        }

        pub(crate) fn duration(&self) -> Duration {
            Duration::MAX
        }
    }
}

pub(crate) use imp::*;
