//! Spans, with feature `tracing`; nothing at all without it.
//!
//! A flight runs in a span of its own, a child of the one that its leader was in, whoever polls it. Each
//! caller waits in a span that follows from the flight's. A subscriber is users' code: spans are made,
//! entered and closed under no lock, and the flight's is made when its row is entered already, so a follower
//! that is faster than that is linked at its next poll. One that has joined may be slower than the landing as well:
//! so the flight's span, when somebody still waits, is closed when the last of them has gone.

#[cfg(feature = "tracing")]
mod imp {
    use std::sync::Arc;

    use tracing::span::Entered;
    use tracing::{Span, debug, debug_span, field, info_span};

    use crate::flight::{Core, Stake, quietly};

    /// A pointer, and there only if a subscriber wants it: a flight is small.
    #[derive(Clone, Debug, Default)]
    pub(crate) struct FlightSpan(Option<Arc<Span>>);

    impl FlightSpan {
        pub(crate) const IS_ON: bool = true;

        /// By the leader, in its own span.
        pub(crate) fn open(core: &Core) -> Self {
            let span = info_span!(
                target: "reducer",
                "flight",
                function = core.site().function(),
                // Keys are users' data; their hash tells them apart.
                key = format_args!("{:08x}", core.hash),
                followers = field::Empty,
            );
            Self((!span.is_disabled()).then(|| Arc::new(span)))
        }

        /// Whether a subscriber wants it.
        pub(crate) fn is_open(&self) -> bool {
            self.0.is_some()
        }

        pub(crate) fn enter(&self) -> Option<Entered<'_>> {
            self.0.as_ref().map(|span| span.enter())
        }

        pub(crate) fn landed(&self, followers: u32, outcome: &str) {
            if let Some(span) = &self.0 {
                span.record("followers", followers);
                let _entered = span.enter();
                debug!(target: "reducer", followers, outcome, "flight landed");
            }
        }
    }

    /// As above.
    #[derive(Debug, Default)]
    pub(crate) struct WaitSpan(Option<Box<Wait>>);

    #[derive(Debug)]
    struct Wait {
        span: Span,
        linked: bool,
    }

    impl WaitSpan {
        pub(crate) const IS_ON: bool = true;

        pub(crate) fn open(core: &Core, stake: Stake) -> Self {
            let role = match stake {
                Stake::Leader => "leader",
                Stake::Follower => "follower",
                Stake::Bystander => "bystander",
            };
            let mut wait = None;
            // There is a stake to be given up, and nobody yet who would.
            quietly(|| {
                let function = core.site().function();
                let span = debug_span!(target: "reducer", "wait", function, role);
                wait = (!span.is_disabled()).then(|| Box::new(Wait { span, linked: false }));
            });
            Self(wait)
        }

        pub(crate) fn enter(&mut self, core: &Core) -> Option<Entered<'_>> {
            let wait = self.0.as_mut()?;
            if !wait.linked {
                if let Some(flight) = core.span().0 {
                    wait.span.follows_from(&*flight);
                    wait.linked = true;
                }
            }
            Some(wait.span.enter())
        }
    }
}

#[cfg(not(feature = "tracing"))]
mod imp {
    use crate::flight::{Core, Stake};

    /// Nowhere.
    pub(crate) struct Entered(());

    #[derive(Clone, Debug, Default)]
    pub(crate) struct FlightSpan(());

    impl FlightSpan {
        pub(crate) const IS_ON: bool = false;

        pub(crate) fn open(_: &Core) -> Self {
            Self(())
        }

        pub(crate) fn is_open(&self) -> bool {
            false
        }

        pub(crate) fn enter(&self) -> Entered {
            Entered(())
        }

        pub(crate) fn landed(&self, _: u32, _: &str) {}
    }

    #[derive(Debug, Default)]
    pub(crate) struct WaitSpan(());

    impl WaitSpan {
        pub(crate) const IS_ON: bool = false;

        pub(crate) fn open(_: &Core, _: Stake) -> Self {
            Self(())
        }

        pub(crate) fn enter(&mut self, _: &Core) -> Entered {
            Entered(())
        }
    }
}

pub(crate) use imp::*;
