//! What the hooks want to know of a flight or a batch from its first moment on.

use std::sync::OnceLock;
use std::time::Duration;

use super::host::Instant;

/// Nothing where there are no hooks.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Log {
    pub(crate) number: u64,
    /// In nanoseconds of our own clock, which an `Instant` needs twice the room for. 0 if nobody asked.
    started: u64,
}

impl Log {
    pub(crate) fn new(number: u64, timed: bool) -> Self {
        Self { number, started: if timed { now() } else { 0 } }
    }

    pub(crate) fn elapsed(self) -> Duration {
        match self.started {
            0 => Duration::ZERO,
            started => Duration::from_nanos(now().saturating_sub(started)),
        }
    }
}

/// Nanoseconds since a day before we were first asked: a test's paused clock may be behind.
fn now() -> u64 {
    static EPOCH: OnceLock<Instant> = OnceLock::new();
    let now = Instant::now();
    let day = Duration::from_secs(24 * 60 * 60);
    let epoch = EPOCH.get_or_init(|| now.checked_sub(day).unwrap_or(now));
    now.saturating_duration_since(*epoch).as_nanos() as u64
}
