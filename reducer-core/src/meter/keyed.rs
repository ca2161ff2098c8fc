//! A meter for each key: a host, a tenant, an account.

use std::fmt;
use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;

use super::{Meter, Permit};
use crate::flight::quietly;
use crate::sync::Mutex;

/// Meters by key: [`Meter::keyed`]. Clones share them.
///
/// A key is *idle* when nobody runs, waits or holds its meter, and its rate owes nothing any more: then a
/// new meter would do the same. Idle keys are dropped as others come, so that the table is never much larger than
/// twice the keys that are in use.
pub struct KeyedMeter<K>(Arc<Table<K>>);

struct Table<K> {
    make: Box<dyn Fn(&K) -> Meter + Send + Sync>,
    hasher: RandomState,
    /// `Hash`, `Eq` and `Drop` of a key are the user's, and are not run under this lock.
    rows: Mutex<Rows<K>>,
}

struct Rows<K> {
    table: HashTable<Arc<Row<K>>>,
    /// As many rows as are looked through for idle ones: twice what was left the last time.
    sweep_at: usize,
}

struct Row<K> {
    hash: u64,
    key: K,
    meter: Meter,
}

/// Not worth a look.
const FEW: usize = 16;

impl<K> KeyedMeter<K> {
    pub(super) fn new(make: Box<dyn Fn(&K) -> Meter + Send + Sync>) -> Self {
        let rows = Mutex::new(Rows { table: HashTable::new(), sweep_at: FEW });
        Self(Arc::new(Table { make, hasher: RandomState::new(), rows }))
    }

    /// How many keys are not idle.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sweep();
        self.0.rows.lock().table.len()
    }

    /// Whether all keys are idle.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Drops the idle keys.
    fn sweep(&self) {
        let idle: Vec<_> = {
            let mut rows = self.0.rows.lock();
            let idle = rows.table.extract_if(|row| row.is_idle()).collect();
            rows.sweep_at = FEW.max(2 * rows.table.len());
            let left = rows.sweep_at;
            rows.table.shrink_to(left, |row| row.hash);
            idle
        };
        idle.into_iter().for_each(|row| quietly(|| drop(row)));
    }
}

impl<K> Row<K> {
    fn is_idle(self: &Arc<Self>) -> bool {
        // Under the lock, without which nobody gets a handle anew.
        Arc::strong_count(self) == 1
            && Arc::strong_count(&self.meter.gate) == 1
            && self.meter.gate.is_idle()
    }
}

impl<K: Hash + Eq> KeyedMeter<K> {
    /// The meter of `key`. It stays the key's as long as somebody holds it.
    ///
    /// # Panics
    /// If the key's `Hash` or `Eq` does, or the closure that makes meters.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reducer_core::Meter;
    ///
    /// let tenants = Meter::keyed(|id: &u32| Meter::new().max_at_once(if *id == 0 { 10 } else { 1 }));
    /// let _permit = tenants.get(7).acquire().await;
    /// assert!(tenants.get(7).try_acquire().is_none());
    /// assert!(tenants.get(8).try_acquire().is_some());
    /// # }
    /// ```
    #[must_use]
    pub fn get(&self, key: K) -> Meter {
        let table = &*self.0;
        let hash = table.hasher.hash_one(&key);
        let mut compared: Vec<Arc<Row<K>>> = Vec::new();
        let mut made = None;
        let mut key = Some(key);
        loop {
            let mut rows = table.rows.lock();
            let is_new = |row: &&Arc<Row<K>>| {
                row.hash == hash && !compared.iter().any(|seen| Arc::ptr_eq(seen, row))
            };
            let new: Vec<_> = rows.table.iter_hash(hash).filter(is_new).cloned().collect();
            if new.is_empty() {
                if let Some(meter) = made.take() {
                    let key = key.take().expect("it goes with the meter");
                    let row = Arc::new(Row { hash, key, meter });
                    let meter = row.meter.clone();
                    rows.table.insert_unique(hash, row, |row| row.hash);
                    let is_full = rows.table.len() >= rows.sweep_at;
                    drop(rows);
                    if is_full {
                        self.sweep();
                    }
                    return meter;
                }
            }
            drop(rows);
            let wanted = key.as_ref().expect("it is taken on the way out only");
            if let Some(row) = new.iter().find(|row| row.key == *wanted) {
                return row.meter.clone();
            }
            compared.extend(new);
            if made.is_none() {
                made = Some((table.make)(wanted));
            }
        }
    }

    /// Waits for a place and a start of `key`'s meter, as [`Meter::acquire`].
    ///
    /// # Cancel safety
    /// As [`Meter::acquire`].
    ///
    /// # Panics
    /// As [`Meter::acquire`] and [`get`](Self::get).
    pub async fn acquire(&self, key: K) -> Permit {
        let meter = self.get(key);
        meter.acquire().await
    }
}

impl<K> Clone for KeyedMeter<K> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<K> fmt::Debug for KeyedMeter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedMeter").finish_non_exhaustive()
    }
}
