//! Batches as the hooks see them: the call that opens one leads it, the others have joined.

use std::any::Any;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::flight::Log;
use crate::hooks::{AllHooks, Call, End, Told};
use crate::reducer::Role;

/// Who is to be told, and of what.
pub(super) struct Watch {
    hooks: AllHooks,
    /// Of the batch function.
    function: fn() -> &'static str,
    numbered: AtomicU64,
}

impl Watch {
    pub(super) fn new(hooks: AllHooks, function: fn() -> &'static str) -> Option<Self> {
        let numbered = AtomicU64::new(0);
        (!hooks.is_empty()).then_some(Self { hooks, function, numbered })
    }

    /// Of a batch that opens now.
    pub(super) fn log(&self) -> Log {
        // Relaxed: only that no two are equal matters.
        let number = self.numbered.fetch_add(1, Ordering::Relaxed) + 1;
        Log::new(number, self.hooks.measures())
    }

    pub(super) fn placed(&self, log: Log, followers: usize, role: Role) {
        let of = &OfBatch { watch: self, log, followers };
        self.hooks.placed(&Call { of, role, end: End::NotYet });
    }

    pub(super) fn refused(&self) {
        let of = &OfBatch { watch: self, log: Log::default(), followers: 0 };
        self.hooks.refused(&Call { of, role: Role::Joined, end: End::NotYet });
    }

    pub(super) fn ended(&self, log: Log, followers: usize, end: End<'_>) {
        let of = &OfBatch { watch: self, log, followers };
        self.hooks.ended(&Call { of, role: Role::Led, end });
    }
}

struct OfBatch<'a> {
    watch: &'a Watch,
    log: Log,
    followers: usize,
}

impl Told for OfBatch<'_> {
    fn function(&self) -> &'static str {
        crate::flight::path_of((self.watch.function)())
    }

    fn number(&self) -> u64 {
        self.log.number
    }

    fn elapsed(&self) -> Duration {
        self.log.elapsed()
    }

    fn followers(&self) -> usize {
        self.followers
    }

    fn key(&self) -> Option<&dyn Any> {
        None
    }

    fn show_key(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("..")
    }
}
