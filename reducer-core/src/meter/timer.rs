//! tokio's clock and its timers. The models cannot have tokio: their clock is not looked at, for they set no rate.

#[cfg(not(loom))]
pub(super) use tokio::time::{Instant, Sleep, sleep_until};

#[cfg(loom)]
pub(super) use none::{Instant, Sleep, sleep_until};

#[cfg(loom)]
mod none {
    use std::future::Pending;
    use std::pin::Pin;
    use std::task::{Context, Poll};

    pub(crate) use std::time::Instant;

    /// A timer that never rings.
    #[derive(Debug)]
    pub(crate) struct Sleep(Instant, Pending<()>);

    pub(crate) fn sleep_until(deadline: Instant) -> Sleep {
        Sleep(deadline, std::future::pending())
    }

    impl Sleep {
        pub(crate) fn deadline(&self) -> Instant {
            self.0
        }

        pub(crate) fn reset(self: Pin<&mut Self>, deadline: Instant) {
            self.get_mut().0 = deadline;
        }
    }

    impl Future for Sleep {
        type Output = ();

        fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
            Pin::new(&mut self.1).poll(cx)
        }
    }
}
