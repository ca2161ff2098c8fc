//! Floor 2: the least that a leader must do.

use std::future::Future;
use std::hash::Hash;
use std::sync::Arc;

use ahash::RandomState;
use hashbrown::HashTable;
use parking_lot::Mutex;

use crate::work::Value;

type Row<K> = (u64, Arc<K>);

/// One hash, one lock, an insert, one allocation; the call; one lock, a remove. Shares nothing.
#[derive(Debug)]
pub struct Floor<K> {
    hasher: RandomState,
    rows: Mutex<HashTable<Row<K>>>,
}

impl<K> Default for Floor<K> {
    fn default() -> Self {
        Self { hasher: RandomState::new(), rows: Mutex::new(HashTable::new()) }
    }
}

impl<K: Hash + Eq> Floor<K> {
    /// The call, for nobody but its caller.
    pub async fn call(&self, key: K, work: impl Future<Output = Value>) -> Value {
        let (hash, identity) = self.insert(key);
        let value = work.await;
        self.remove(hash, identity);
        value
    }

    /// The same for a thread.
    pub fn call_blocking(&self, key: K, work: impl FnOnce() -> Value) -> Value {
        let (hash, identity) = self.insert(key);
        let value = work();
        self.remove(hash, identity);
        value
    }

    fn insert(&self, key: K) -> (u64, usize) {
        let hash = self.hasher.hash_one(&key);
        let flight = Arc::new(key);
        // Others may insert an equal key meanwhile.
        let identity = Arc::as_ptr(&flight).addr();
        self.rows.lock().insert_unique(hash, (hash, flight), |row| row.0);
        (hash, identity)
    }

    fn remove(&self, hash: u64, identity: usize) {
        let mut rows = self.rows.lock();
        if let Ok(row) = rows.find_entry(hash, |row| Arc::as_ptr(&row.1).addr() == identity) {
            row.remove();
        }
    }
}
