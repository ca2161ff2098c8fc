//! Crates that share calls in flight, on the way to a cache entry or for nothing else.
//!
//! A cache forgets its entry when the value is there, if it can: what we do is not caching.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use benches::work::{Plan, Value, Work};
use tokio::sync::OnceCell;

use crate::contenders::{Contender, Everybody, Key, Others, Visit};

impl<K: Key> Others<K> for Everybody
where
    Cached: Contender<K>,
{
    fn visit(visit: &mut impl Visit<K>) {
        visit.visit::<DashCells<K>>();
        visit.visit::<SingleflightAsync<K>>();
        visit.visit::<AsyncSingleflight<K>>();
        visit.visit::<RsSingleflight<K>>();
        visit.visit::<Uniflight<K>>();
        visit.visit::<Deduplicate<K>>();
        visit.visit::<Tower<K>>();
        visit.visit::<QuickCache<K>>();
        visit.visit::<Moka<K>>();
        visit.visit::<MokaForgets<K>>();
        visit.visit::<Foyer<K>>();
        visit.visit::<Cached>();
    }
}

/// By hand, with a map that locks a part of itself.
#[derive(Clone)]
struct DashCells<K: Key>(Arc<dashmap::DashMap<K, Arc<OnceCell<Value>>>>, Plan);

impl<K: Key> Contender<K> for DashCells<K> {
    const NAME: &str = "DashMap of tokio's `OnceCell`";

    fn new(plan: Plan) -> Self {
        Self(Arc::default(), plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        let cell = Arc::clone(&self.0.entry(key.to_owned()).or_default());
        let value = Arc::clone(cell.get_or_init(|| self.1.work(K::value(key))).await);
        self.0.remove_if(key, |_, row| Arc::ptr_eq(row, &cell));
        value
    }
}

#[derive(Clone)]
struct SingleflightAsync<K>(Arc<singleflight_async::SingleFlight<K, Value>>, Plan);

impl<K: Key> Contender<K> for SingleflightAsync<K> {
    const NAME: &str = "singleflight-async";

    fn new(plan: Plan) -> Self {
        Self(Arc::default(), plan)
    }

    fn call(&self, key: &K::Lent) -> impl Future<Output = Value> + Send {
        let value = K::value(key);
        self.0.work(key.to_owned(), move || self.1.work(value))
    }
}

#[derive(Clone)]
struct AsyncSingleflight<K>(Arc<async_singleflight::UnaryGroup<K, Value>>, Plan);

impl<K: Key> Contender<K> for AsyncSingleflight<K> {
    const NAME: &str = "async_singleflight";

    fn new(plan: Plan) -> Self {
        Self(Arc::default(), plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        let value = K::value(key);
        // It takes a future, of everybody: built in there, so that only a leader's works.
        self.0.work(key, async move { self.1.work(value).await }).await
    }
}

#[derive(Clone)]
struct RsSingleflight<K>(rs_singleflight::Group<K, Value, Infallible>, Plan);

impl<K: Key> Contender<K> for RsSingleflight<K> {
    const NAME: &str = "rs-singleflight";

    fn new(plan: Plan) -> Self {
        Self(rs_singleflight::Group::new(), plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        let value = K::value(key);
        let work = || async move { Ok(self.1.work(value).await) };
        self.0.do_call(key.to_owned(), work).await.unwrap_or_else(|never| match never {})
    }
}

#[derive(Clone)]
struct Uniflight<K: Key>(uniflight::Merger<K, Value>, Plan);

impl<K: Key> Contender<K> for Uniflight<K> {
    const NAME: &str = "uniflight";

    fn new(plan: Plan) -> Self {
        Self(uniflight::Merger::new_per_process(), plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        let value = K::value(key);
        self.0.execute(key, || self.1.work(value)).await.expect("it does not panic")
    }
}

type Delegate<K> = Box<dyn Fn(K) -> deduplicate::DeduplicateFuture<Value> + Send + Sync>;

#[derive(Clone)]
struct Deduplicate<K: Key>(Arc<deduplicate::Deduplicate<Delegate<K>, K, Value>>);

impl<K: Key> Contender<K> for Deduplicate<K> {
    const NAME: &str = "deduplicate";
    const NEEDS_TOKIO: bool = true;

    fn new(plan: Plan) -> Self {
        let delegate: Delegate<K> = Box::new(move |key| {
            let work = plan.work(K::value(key.borrow()));
            Box::pin(async move { Some(work.await) })
        });
        // Without its cache.
        Self(Arc::new(deduplicate::Deduplicate::with_capacity(delegate, 0)))
    }

    async fn call(&self, key: &K::Lent) -> Value {
        loop {
            // It fails now and then though its delegate does not.
            if let Ok(Some(value)) = self.0.get(key.to_owned()).await {
                return value;
            }
        }
    }
}

#[derive(Clone)]
struct Service(Plan);

impl<K: Key> tower_service::Service<K> for Service {
    type Response = Value;
    type Error = Infallible;
    type Future = Infallibly;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, key: K) -> Infallibly {
        Infallibly(self.0.work(K::value(key.borrow())))
    }
}

struct Infallibly(Work);

impl Future for Infallibly {
    type Output = Result<Value, Infallible>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(cx).map(Ok)
    }
}

type Coalesce<K> = tower_resilience_coalesce::CoalesceService<Service, K, K, fn(&K) -> K>;

#[derive(Clone)]
struct Tower<K: Key>(Coalesce<K>);

impl<K: Key> Contender<K> for Tower<K> {
    const NAME: &str = "tower-resilience-coalesce";

    fn new(plan: Plan) -> Self {
        let config = tower_resilience_coalesce::CoalesceConfig::new(K::clone as fn(&K) -> K);
        Self(Coalesce::new(Service(plan), Arc::new(config)))
    }

    async fn call(&self, key: &K::Lent) -> Value {
        use tower_service::Service as _;
        // A service is cloned for each call; this one is always ready.
        self.0.clone().call(key.to_owned()).await.expect("nobody is cancelled")
    }
}

#[derive(Clone)]
struct QuickCache<K: Key>(Arc<quick_cache::sync::Cache<K, Value>>, Plan);

impl<K: Key> Contender<K> for QuickCache<K> {
    const NAME: &str = "quick_cache, which forgets";

    fn new(plan: Plan) -> Self {
        Self(Arc::new(quick_cache::sync::Cache::new(1_000)), plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        match self.0.get_value_or_guard_async(key).await {
            Ok(value) => value,
            Err(guard) => {
                let value = self.1.work(K::value(key)).await;
                let _ = guard.insert(Arc::clone(&value));
                self.0.remove(key);
                value
            }
        }
    }
}

#[derive(Clone)]
struct Moka<K: Key>(moka::future::Cache<K, Value>, Plan);

impl<K: Key> Contender<K> for Moka<K> {
    const NAME: &str = "moka, of capacity 0";
    const KEEPS: bool = true;

    fn new(plan: Plan) -> Self {
        Self(moka::future::Cache::new(0), plan)
    }

    fn call(&self, key: &K::Lent) -> impl Future<Output = Value> + Send {
        self.0.get_with_by_ref(key, self.1.work(K::value(key)))
    }
}

#[derive(Clone)]
struct MokaForgets<K: Key>(moka::future::Cache<K, Value>, Plan);

impl<K: Key> Contender<K> for MokaForgets<K> {
    const NAME: &str = "moka, which forgets";

    fn new(plan: Plan) -> Self {
        Self(moka::future::Cache::new(1_000), plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        let entry = self.0.entry_by_ref(key).or_insert_with(self.1.work(K::value(key))).await;
        if entry.is_fresh() {
            self.0.invalidate(key).await;
        }
        entry.into_value()
    }
}

#[derive(Clone)]
struct Foyer<K: Key>(foyer_memory::Cache<K, Value>, Plan);

impl<K: Key> Contender<K> for Foyer<K> {
    const NAME: &str = "foyer, which forgets";
    const NEEDS_TOKIO: bool = true;

    fn new(plan: Plan) -> Self {
        Self(foyer_memory::CacheBuilder::new(1_000).build(), plan)
    }

    async fn call(&self, key: &K::Lent) -> Value {
        let value = K::value(key);
        let mut leads = false;
        let work = || {
            leads = true;
            let work = self.1.work(value);
            async move { Ok::<_, Infallible>(work.await) }
        };
        let entry = self.0.get_or_fetch(key, work).await.expect("it does not fail");
        if leads {
            self.0.remove(key);
        }
        Arc::clone(entry.value())
    }
}

/// It keeps for a millisecond at least.
#[derive(Clone)]
struct Cached(Plan);

#[cached::macros::cached(
    sync_writes = "by_key",
    ttl_millis = 1,
    key = "u64",
    convert = "{ number }"
)]
async fn by_number(number: u64, plan: &Plan) -> Value {
    plan.work(number).await
}

#[cached::macros::cached(
    sync_writes = "by_key",
    ttl_millis = 1,
    key = "String",
    convert = "{ name.to_owned() }"
)]
async fn by_name(name: &str, plan: &Plan) -> Value {
    plan.work(name.len() as u64).await
}

impl Contender<u64> for Cached {
    const NAME: &str = "cached, `by_key`, for 1 ms";
    const KEEPS: bool = true;

    fn new(plan: Plan) -> Self {
        Self(plan)
    }

    fn call(&self, key: &u64) -> impl Future<Output = Value> + Send {
        by_number(*key, &self.0)
    }
}

impl Contender<String> for Cached {
    const NAME: &str = "cached, `by_key`, for 1 ms";
    const KEEPS: bool = true;

    fn new(plan: Plan) -> Self {
        Self(plan)
    }

    fn call(&self, key: &str) -> impl Future<Output = Value> + Send {
        by_name(key, &self.0)
    }
}

type Blocking = Box<dyn Fn(u64, &dyn Fn() -> Value) -> Value + Sync>;

/// moka and quick_cache, for threads.
pub(crate) fn blocking_caches() -> (Blocking, Blocking) {
    let moka = moka::sync::Cache::<u64, Value>::new(1_000);
    let quick = quick_cache::sync::Cache::<u64, Value>::new(1_000);
    (
        Box::new(move |key, work| {
            let entry = moka.entry(key).or_insert_with(work);
            if entry.is_fresh() {
                moka.invalidate(&key);
            }
            entry.into_value()
        }),
        Box::new(move |key, work| match quick.get_value_or_guard(&key, None) {
            quick_cache::sync::GuardResult::Value(value) => value,
            quick_cache::sync::GuardResult::Guard(guard) => {
                let value = work();
                let _ = guard.insert(Arc::clone(&value));
                quick.remove(&key);
                value
            }
            quick_cache::sync::GuardResult::Timeout => unreachable!("there is no limit"),
        }),
    )
}
