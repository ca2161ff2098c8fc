//! Who takes part: floors, reducer, and what one would write by hand. `peers` has the crates.

use std::borrow::Borrow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::fmt::Debug;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;

use benches::floor::Floor;
use benches::work::{Plan, Value};
use futures_util::future::{FutureExt as _, Shared};
use parking_lot::Mutex;
use reducer_core::{Reducer, reduceable};
use tokio::sync::OnceCell;

/// What identifies a call, and how a caller has it.
pub(crate) trait Key:
    Hash + Eq + Clone + Debug + Send + Sync + Borrow<Self::Lent> + 'static
{
    type Lent: Hash + Eq + Send + Sync + ToOwned<Owned = Self> + ?Sized;

    fn nth(n: u64) -> Self;
    fn value(lent: &Self::Lent) -> u64;
}

impl Key for u64 {
    type Lent = u64;

    fn nth(n: u64) -> u64 {
        n
    }

    fn value(lent: &u64) -> u64 {
        *lent
    }
}

impl Key for String {
    type Lent = str;

    /// As long as a UUID.
    fn nth(n: u64) -> String {
        format!("{n:036}")
    }

    fn value(lent: &str) -> u64 {
        lent.len() as u64
    }
}

/// Somebody who shares calls in flight, or shows what not to share costs.
pub(crate) trait Contender<K: Key>: Clone + Send + Sync + 'static {
    const NAME: &str;
    /// It spawns.
    const NEEDS_TOKIO: bool = false;
    /// It goes on handing out a value after the flight, so what needs every value forgotten is not for it.
    const KEEPS: bool = false;

    fn new(plan: Plan) -> Self;

    fn call(&self, key: &K::Lent) -> impl Future<Output = Value> + Send;
}

/// Something to be done with every contender.
pub(crate) trait Visit<K: Key> {
    fn visit<C: Contender<K>>(&mut self);
}

/// All of them; floor 2 is the first.
pub(crate) fn all<K: Key>(visit: &mut impl Visit<K>)
where
    Ours: Contender<K>,
    Attribute: Contender<K>,
    Everybody: Others<K>,
{
    visit.visit::<Least<K>>();
    visit.visit::<Bare>();
    visit.visit::<Spawned>();
    sharing(visit);
}

/// Those that share.
pub(crate) fn sharing<K: Key>(visit: &mut impl Visit<K>)
where
    Ours: Contender<K>,
    Attribute: Contender<K>,
    Everybody: Others<K>,
{
    visit.visit::<Ours>();
    visit.visit::<Attribute>();
    visit.visit::<SharedMap<K>>();
    visit.visit::<CellMap<K>>();
    Everybody::visit(visit);
}

/// The peers, or nobody.
pub(crate) trait Others<K: Key> {
    fn visit(visit: &mut impl Visit<K>);
}

pub(crate) struct Everybody;

#[cfg(not(feature = "peers"))]
impl<K: Key> Others<K> for Everybody {
    fn visit(_: &mut impl Visit<K>) {}
}

/// Floor 1.
#[derive(Clone)]
pub(crate) struct Bare(Plan);

impl<K: Key> Contender<K> for Bare {
    const NAME: &str = "floor 1: the bare call";

    fn new(plan: Plan) -> Self {
        Self(plan)
    }

    fn call(&self, key: &K::Lent) -> impl Future<Output = Value> + Send {
        self.0.work(K::value(key))
    }
}

/// Floor 2.
#[derive(Clone)]
pub(crate) struct Least<K>(Arc<Floor<K>>, Plan);

impl<K: Key> Contender<K> for Least<K> {
    const NAME: &str = "floor 2: what a leader must do";

    fn new(plan: Plan) -> Self {
        Self(Arc::default(), plan)
    }

    fn call(&self, key: &K::Lent) -> impl Future<Output = Value> + Send {
        self.0.call(key.to_owned(), self.1.work(K::value(key)))
    }
}

/// Floor 3.
#[derive(Clone)]
pub(crate) struct Spawned(Plan);

impl<K: Key> Contender<K> for Spawned {
    const NAME: &str = "floor 3: `tokio::spawn` of it";
    const NEEDS_TOKIO: bool = true;

    fn new(plan: Plan) -> Self {
        Self(plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        tokio::spawn(self.0.work(K::value(key))).await.expect("it does not panic")
    }
}

#[derive(Clone)]
pub(crate) struct Ours(Reducer, Plan);

impl Contender<u64> for Ours {
    const NAME: &str = "**reducer**";

    fn new(plan: Plan) -> Self {
        Self(Reducer::new(), plan)
    }

    fn call(&self, key: &u64) -> impl Future<Output = Value> + Send {
        self.0.reduce_with(*key, || self.1.work(*key))
    }
}

impl Contender<String> for Ours {
    const NAME: &str = "**reducer**";

    fn new(plan: Plan) -> Self {
        Self(Reducer::new(), plan)
    }

    async fn call(&self, key: &str) -> Value {
        self.0.reduce_by_ref(key, self.1.work(key.len() as u64)).await
    }
}

#[derive(Clone)]
pub(crate) struct Attribute(Plan);

#[reduceable(skip(plan))]
async fn by_number(number: u64, plan: &Plan) -> Value {
    plan.work(number).await
}

#[reduceable(skip(plan))]
async fn by_name(name: &str, plan: &Plan) -> Value {
    plan.work(name.len() as u64).await
}

impl Contender<u64> for Attribute {
    const NAME: &str = "**`#[reduceable]`**";

    fn new(plan: Plan) -> Self {
        Self(plan)
    }

    fn call(&self, key: &u64) -> impl Future<Output = Value> + Send {
        by_number(*key, &self.0)
    }
}

impl Contender<String> for Attribute {
    const NAME: &str = "**`#[reduceable]`**";

    fn new(plan: Plan) -> Self {
        Self(plan)
    }

    fn call(&self, key: &str) -> impl Future<Output = Value> + Send {
        by_name(key, &self.0)
    }
}

/// What one would write by hand, to survive the leader.
#[derive(Clone)]
pub(crate) struct SharedMap<K>(Rows<K, Shared<Boxed>>, Plan);

type Rows<K, R> = Arc<Mutex<HashMap<K, R>>>;
type Boxed = Pin<Box<dyn Future<Output = Value> + Send>>;

impl<K: Key> Contender<K> for SharedMap<K> {
    const NAME: &str = "map of futures' `Shared`";

    fn new(plan: Plan) -> Self {
        Self(Arc::default(), plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        let shared = match self.0.lock().entry(key.to_owned()) {
            Entry::Occupied(row) => row.get().clone(),
            Entry::Vacant(row) => {
                let work: Boxed = Box::pin(self.1.work(K::value(key)));
                row.insert(work.shared()).clone()
            }
        };
        let value = shared.clone().await;
        let mut rows = self.0.lock();
        if rows.get(key).is_some_and(|row| row.ptr_eq(&shared)) {
            rows.remove(key);
        }
        value
    }
}

/// What one would write by hand, where a leader that is dropped may be followed by another.
#[derive(Clone)]
pub(crate) struct CellMap<K>(Rows<K, Arc<OnceCell<Value>>>, Plan);

impl<K: Key> Contender<K> for CellMap<K> {
    const NAME: &str = "map of tokio's `OnceCell`";

    fn new(plan: Plan) -> Self {
        Self(Arc::default(), plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        let cell = Arc::clone(self.0.lock().entry(key.to_owned()).or_default());
        let value = Arc::clone(cell.get_or_init(|| self.1.work(K::value(key))).await);
        let mut rows = self.0.lock();
        if rows.get(key).is_some_and(|row| Arc::ptr_eq(row, &cell)) {
            rows.remove(key);
        }
        value
    }
}
