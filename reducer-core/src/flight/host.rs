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

    /// tokio's, which tests can pause.
    pub(crate) use tokio::time::Instant;

    use crate::error::NoRuntime;
    use crate::flight::phase::{self, Turn};
    use crate::flight::seat::Seat;
    use crate::flight::{Hold, Rows};

    /// A runtime that a flight is at home in.
    #[derive(Clone)]
    pub(crate) struct Home(Handle);

    impl Home {
        /// The one that we are in, if we are in one.
        pub(crate) fn here() -> Option<Self> {
            Handle::try_current().ok().map(Self)
        }

        /// Whether we are in it.
        pub(crate) fn is_here(&self) -> bool {
            Handle::try_current().is_ok_and(|here| here.id() == self.0.id())
        }

        /// The same, for a thread that is in none: what the work makes is to have a reactor.
        pub(crate) fn for_outsiders(&self) -> Option<Self> {
            Handle::try_current().is_err().then(|| self.clone())
        }

        /// Until the guard is dropped we are.
        pub(crate) fn enter(&self) -> tokio::runtime::EnterGuard<'_> {
            self.0.enter()
        }

        /// Gives `flight` a task of its own.
        pub(crate) fn carry(self, flight: Hold, rows: Arc<Rows>) {
            // Detached from its handle: the task ends with the flight.
            drop(self.0.spawn(Host { flight, rows }));
        }
    }

    /// The task that is being polled here, if any.
    pub(crate) type TaskId = Option<tokio::task::Id>;

    pub(crate) fn task_id() -> TaskId {
        tokio::task::try_id()
    }

    /// The task that polls a flight.
    struct Host {
        flight: Hold,
        rows: Arc<Rows>,
    }

    impl Future for Host {
        type Output = ();

        fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            match self.flight.core().turn_of_host(cx) {
                Turn::Over => Poll::Ready(()),
                Turn::Wait => Poll::Pending,
                Turn::Drive(_) => match Seat::new(&self.flight, &self.rows).drive_as_host() {
                    Some(seat) => seat.give_up_as_host(cx),
                    None => Poll::Ready(()),
                },
            }
        }
    }

    impl Drop for Host {
        fn drop(&mut self) {
            phase::host_is_gone(&self.flight, &self.rows);
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
    }

    impl Future for Deadline {
        /// How long the flight had.
        type Output = Duration;

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Duration> {
            // Work that has used up its task's budget leaves none for the clock, poll after poll.
            let passed = std::pin::pin!(tokio::task::unconstrained(self.sleep.as_mut())).poll(cx);
            passed.map(|()| self.after)
        }
    }

    /// An error that names `option` unless there is a runtime here.
    pub(crate) fn require_runtime(option: &'static str) -> Result<(), NoRuntime> {
        Handle::try_current().map(drop).map_err(|_| NoRuntime::new(option))
    }
}

#[cfg(not(all(feature = "tokio", not(loom))))]
mod imp {
    use std::future::Future;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::{Context, Poll};
    use std::time::Duration;

    pub(crate) use std::time::Instant;

    use crate::flight::{Hold, Rows};

    /// There are no runtimes that we know: nobody makes one.
    #[derive(Clone)]
    pub(crate) struct Home(());

    impl Home {
        pub(crate) fn here() -> Option<Self> {
            None
        }

        pub(crate) fn is_here(&self) -> bool {
            false
        }

        pub(crate) fn for_outsiders(&self) -> Option<Self> {
            None
        }

        pub(crate) fn enter(&self) {}

        pub(crate) fn carry(self, _: Hold, _: Arc<Rows>) {}
    }

    /// There are no tasks to tell apart.
    pub(crate) type TaskId = Option<std::convert::Infallible>;

    pub(crate) fn task_id() -> TaskId {
        None
    }

    /// There is no clock: nobody makes one.
    pub(crate) struct Deadline(());

    impl Deadline {
        pub(crate) fn after(_: Duration) -> Self {
            unreachable!("there is no option that asks for one")
        }
    }

    impl Future for Deadline {
        type Output = Duration;

        fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Duration> {
            Poll::Pending
        }
    }
}

pub(crate) use imp::*;
