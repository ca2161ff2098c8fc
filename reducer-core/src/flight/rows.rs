//! The rows of a reducer: what all its calls look into, and what a flight needs to know of where it came from.
//!
//! A shard's lock is held for a look or a change, and never over user code: a row that is taken out is given back, to be
//! dropped when the lock is free.

use std::hash::{BuildHasher, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};

use ahash::RandomState;

use super::table::Table;
use super::{Hold, Log, Row};
use crate::hooks::AllHooks;
use crate::key::KeyHasher;
use crate::sync::{Mutex, MutexGuard};

/// See the module.
pub(crate) struct Rows {
    hasher: RandomState,
    shards: Box<[Shard]>,
    hooks: Option<Box<AllHooks>>,
    /// For those who have no more than a reference.
    this: Weak<Self>,
}

/// Alone on its cache lines: neighbours are locked by other threads.
#[repr(align(128))]
struct Shard {
    rows: Mutex<Table>,
    /// Flights that were given a number, here.
    numbered: AtomicU64,
}

/// The rows of a shard, locked.
pub(crate) type Shut<'a> = MutexGuard<'a, Table>;

impl Rows {
    pub(crate) fn new(hooks: AllHooks) -> Arc<Self> {
        #[cfg(not(loom))]
        let (hasher, shards) = {
            let threads = std::thread::available_parallelism().map_or(1, usize::from);
            (RandomState::new(), (threads * 4).next_power_of_two().clamp(8, 64))
        };
        // The models want the same run every time.
        #[cfg(loom)]
        let (hasher, shards) = (RandomState::with_seeds(1, 2, 3, 4), 1);
        let shard = |_| Shard { rows: Mutex::new(Table::default()), numbered: AtomicU64::new(0) };
        let shards = (0..shards).map(shard).collect();
        let hooks = (!hooks.is_empty()).then(|| Box::new(hooks));
        Arc::new_cyclic(|this| Self { hasher, shards, hooks, this: Weak::clone(this) })
    }

    /// Half of what the hasher gives: a flight keeps it, and is small.
    pub(crate) fn hash_with(&self, feed: impl FnOnce(&mut KeyHasher)) -> u32 {
        let mut hasher = self.hasher.build_hasher();
        feed(&mut hasher);
        hasher.finish() as u32
    }

    #[inline(always)]
    pub(crate) fn shut(&self, hash: u32) -> Shut<'_> {
        self.shards[self.shard_of(hash)].rows.lock()
    }

    /// A table takes the low bits of a hash to find its way; these are from above.
    #[inline(always)]
    fn shard_of(&self, hash: u32) -> usize {
        (hash >> 26) as usize & (self.shards.len() - 1)
    }

    /// What the hooks want to know of a flight that starts now.
    #[inline]
    pub(crate) fn log(&self, hash: u32) -> Log {
        match &self.hooks {
            None => Log::default(),
            Some(hooks) => self.number(hash, hooks),
        }
    }

    fn number(&self, hash: u32, hooks: &AllHooks) -> Log {
        let shard = self.shard_of(hash);
        // Relaxed: only that no two are equal matters. Of the shard, for all threads would meet at one counter.
        let number = self.shards[shard].numbered.fetch_add(1, Ordering::Relaxed);
        let number = number * self.shards.len() as u64 + shard as u64 + 1;
        Log::new(number, hooks.measures())
    }

    /// Takes the row of this very flight out, if it is still there: not if it was forgotten, or taken over.
    #[must_use]
    pub(crate) fn free(&self, flight: &Hold) -> Option<Row> {
        self.shut(flight.core().hash).remove(flight)
    }

    /// Another hold on the same rows.
    pub(crate) fn share(&self) -> Arc<Self> {
        self.this.upgrade().expect("whoever asks has a hold on it")
    }

    /// Who is to be told, if anybody.
    #[inline(always)]
    pub(crate) fn hooks(&self) -> Option<&AllHooks> {
        self.hooks.as_deref()
    }

    pub(crate) fn len(&self) -> usize {
        self.shards.iter().map(|shard| shard.rows.lock().len()).sum()
    }
}
