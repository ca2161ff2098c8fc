//! The first door: async calls share one execution.

use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::call::{Build, Call, TryCall, Work, Wrapped};
use crate::error::SetHooksError;
use crate::flight::{HoldsRows, Ready, Rows, Site};
use crate::hooks::{AllHooks, Hooks};
use crate::key::{ByEq, ByRef, Owned};
use crate::registry::{Options, Registry};

/// Runs the same work once for all calls that ask for it at the same time.
///
/// Calls that overlap and have equal keys (and the same value type) are one *flight*: the first leads and
/// brings the work, the rest follow, and each gets a clone of the outcome. When the flight has landed the
/// next call starts afresh. Nothing is kept: this is not a cache.
///
/// The flight belongs to all its callers. Whoever of them is dropped, the leader first of all, the work goes on
/// from where it is for the rest; when the last one is gone it is dropped. A caller that holds its
/// future without polling it stalls nobody.
///
/// A `Reducer` is a handle: clones share one table. It serves any mix of key and value types. Calls meet
/// within one process and one reducer, nowhere else.
///
/// It mirrors Python's `async-reduce` and `concurrent-coalesce`, and compares whole keys where those
/// compare hashes.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use reducer_core::Reducer;
/// use std::sync::atomic::{AtomicU32, Ordering};
///
/// static QUERIES: AtomicU32 = AtomicU32::new(0);
/// async fn user_name(id: u64) -> String {
///     QUERIES.fetch_add(1, Ordering::Relaxed);
///     tokio::task::yield_now().await; // a round trip
///     format!("user {id}")
/// }
///
/// let reducer = Reducer::new();
/// let (a, b) = tokio::join!(reducer.reduce(7, user_name(7)), reducer.reduce(7, user_name(7)));
/// assert_eq!((a.as_str(), b.as_str()), ("user 7", "user 7"));
/// assert_eq!(QUERIES.load(Ordering::Relaxed), 1);
/// # }
/// ```
#[derive(Clone)]
pub struct Reducer {
    pub(crate) registry: Registry,
    /// With the handle and not with the table, so that one function can ask for others (`#[reduceable(timeout = ..)]`).
    pub(crate) options: Options,
}

/// A call by hand.
type OpenCall<'r, K, W, V> = TryCall<&'r Reducer, Owned<K>, K, ByEq, W, V>;

impl Reducer {
    /// A reducer without options.
    #[must_use]
    pub fn new() -> Self {
        Self::builder().build()
    }

    /// Options first, then [`build`](ReducerBuilder::build).
    pub fn builder() -> ReducerBuilder {
        ReducerBuilder::default()
    }

    /// The reducer of the process: [`reduce`] and every `#[reduceable]` function that names no other.
    #[must_use]
    pub fn global() -> &'static Self {
        GLOBAL.get_or_init(Self::new)
    }

    /// Runs `work` once for all calls now waiting on `key`, and gives each a clone of its output.
    ///
    /// Nothing happens before the first poll. The leader's `work` is run; the followers' is dropped
    /// unpolled. `work` should own what it needs: it may outlive the call that brought it.
    ///
    /// # Cancel safety
    /// Dropping any caller, the leader included, neither stops nor restarts the work for the rest. When
    /// the last one is dropped, so is the work, there and then, unless the reducer is
    /// [`detached`](ReducerBuilder::detached).
    ///
    /// # Panics
    /// If the work panics, with the same message, in every caller. Also where
    /// [`try_reduce`](Self::try_reduce) gives another [`ReduceError`](crate::ReduceError), with its text.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let reducer = reducer_core::Reducer::new();
    /// assert_eq!(reducer.reduce("answer", async { 6 * 7 }).await, 42);
    /// assert_eq!(reducer.in_flight(), 0);
    /// # }
    /// ```
    pub fn reduce<K, F>(&self, key: K, work: F) -> impl Future<Output = F::Output>
    where
        K: Hash + Eq + Send + Sync + 'static,
        F: Future<Output: Clone + Send + Sync + 'static> + Send + 'static,
    {
        Call(self.call(key, Ready::new(work)))
    }

    /// As [`reduce`](Self::reduce), and tells the caller's [`Role`]; what `reduce` panics with is the error.
    ///
    /// # Cancel safety
    /// As for [`reduce`](Self::reduce).
    ///
    /// # Errors
    /// [`ReduceError`](crate::ReduceError): the work panicked or took too long, the call would wait on
    /// itself, the flight is full, its runtime died, or an option needs a runtime that is not there.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reducer_core::{ReduceError, Reducer, Role};
    ///
    /// let reducer = Reducer::new();
    /// let done = reducer.try_reduce(1, async { "row" }).await.unwrap();
    /// assert_eq!((done.value, done.role), ("row", Role::Led));
    ///
    /// let failed = reducer.try_reduce(1, async { panic!("no such table") as u8 }).await;
    /// let Err(ReduceError::Panicked(panicked)) = failed else { panic!("{failed:?}") };
    /// assert_eq!(panicked.message(), "no such table");
    /// # }
    /// ```
    pub fn try_reduce<K, F>(
        &self,
        key: K,
        work: F,
    ) -> impl Future<Output = Result<Reduced<F::Output>, crate::ReduceError>>
    where
        K: Hash + Eq + Send + Sync + 'static,
        F: Future<Output: Clone + Send + Sync + 'static> + Send + 'static,
    {
        self.call(key, Ready::new(work))
    }

    /// As [`reduce`](Self::reduce), with work that only the leader builds: a follower's future stays small,
    /// and what the work needs is made once.
    ///
    /// # Cancel safety
    /// As for [`reduce`](Self::reduce).
    ///
    /// # Panics
    /// As [`reduce`](Self::reduce), and if `work` itself panics: in the followers, too.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let reducer = reducer_core::Reducer::new();
    /// let url = String::from("/index.html");
    /// let size = reducer.reduce_with(url.clone(), || async move { url.len() }).await;
    /// assert_eq!(size, 11);
    /// # }
    /// ```
    pub fn reduce_with<K, F>(
        &self,
        key: K,
        work: impl FnOnce() -> F,
    ) -> impl Future<Output = F::Output>
    where
        K: Hash + Eq + Send + Sync + 'static,
        F: Future<Output: Clone + Send + Sync + 'static> + Send + 'static,
    {
        Call(self.call(key, Build(Some(work))))
    }

    /// As [`reduce`](Self::reduce), with a borrowed key: a `&str` finds the flight of a `String`. Only the call that leads
    /// makes an owned key.
    ///
    /// # Cancel safety
    /// As for [`reduce`](Self::reduce).
    ///
    /// # Panics
    /// As [`reduce`](Self::reduce).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let reducer = reducer_core::Reducer::new();
    /// let (a, b) = tokio::join!(
    ///     reducer.reduce(String::from("host"), async { tokio::task::yield_now().await; 1 }),
    ///     reducer.reduce_by_ref("host", async { 2 }),
    /// );
    /// assert_eq!((a, b), (1, 1));
    /// # }
    /// ```
    pub fn reduce_by_ref<'a, Q, F>(&'a self, key: &'a Q, work: F) -> impl Future<Output = F::Output>
    where
        Q: Hash + Eq + ToOwned<Owned: Hash + Eq + Send + Sync + 'static> + ?Sized,
        F: Future<Output: Clone + Send + Sync + 'static> + Send + 'static,
    {
        Call(TryCall::new(self, ByRef(key), Ready::new(work)))
    }

    /// With work of an `F`.
    fn call<K, W, V>(&self, key: K, work: W) -> OpenCall<'_, K, W, V>
    where
        K: Hash + Eq + Send + Sync + 'static,
        W: Work<K, V, ByEq>,
    {
        TryCall::new(self, Owned(key), work)
    }

    /// Makes an async function of one argument (a tuple for more) into one whose calls share: the same as
    /// `concurrent-coalesce`'s `coalesce(f)`. Each `wrap` is a namespace of its own.
    ///
    /// # Cancel safety
    /// Of each call: as for [`reduce`](Self::reduce).
    ///
    /// # Panics
    /// Each call: as [`reduce`](Self::reduce).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// let reducer = reducer_core::Reducer::new();
    /// let add = reducer.wrap(|(a, b): (i32, i32)| async move { a + b });
    /// let (x, y) = tokio::join!(add((1, 2)), add((3, 4)));
    /// assert_eq!((x, y), (3, 7));
    /// # }
    /// ```
    pub fn wrap<A, F, Fut>(&self, f: F) -> impl Fn(A) -> Wrapped<A, F, Fut::Output> + use<A, F, Fut>
    where
        A: Hash + Eq + Clone + Send + Sync + 'static,
        F: Fn(A) -> Fut,
        Fut: Future<Output: Clone + Send + Sync + 'static> + Send + 'static,
    {
        let (reducer, site, f) = (self.clone(), Site::next_wrap::<F>(), Arc::new(f));
        move |arg| Wrapped::new(reducer.clone(), site, Arc::clone(&f), arg)
    }

    /// Lets go of what is in flight for `key`, of whatever function on this reducer: a barrier.
    ///
    /// A call that begins after `forget` never gets an outcome of work begun before it. Those that wait
    /// already still get theirs. Call it after a write, so that the next read is not answered by one that
    /// began before the write. Tells whether there was anything to let go of.
    ///
    /// The key of a `#[reduceable]` function is the owned form of its key argument, or the tuple of them.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use tokio::task::yield_now;
    ///
    /// let reducer = reducer_core::Reducer::new();
    /// let before = reducer.reduce(7, async { yield_now().await; "old" });
    /// let after = async {
    ///     assert!(reducer.forget(&7));
    ///     reducer.reduce(7, async { "new" }).await
    /// };
    /// assert_eq!(tokio::join!(before, after), ("old", "new"));
    /// # }
    /// ```
    pub fn forget<K: Hash + Eq + Send + Sync + 'static>(&self, key: &K) -> bool {
        self.registry.forget(key)
    }

    /// Whether a call of `key` would join a flight now, of whatever function on this reducer.
    pub fn is_in_flight<K: Hash + Eq + Send + Sync + 'static>(&self, key: &K) -> bool {
        self.registry.is_in_flight(key)
    }

    /// How many calls wait on `key` now, leaders and followers, of whatever function on this reducer.
    pub fn callers<K: Hash + Eq + Send + Sync + 'static>(&self, key: &K) -> usize {
        self.registry.callers(key)
    }

    /// How many flights are in the air.
    #[must_use]
    pub fn in_flight(&self) -> usize {
        self.registry.in_flight()
    }
}

impl Default for Reducer {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Reducer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reducer")
            .field("in_flight", &self.in_flight())
            .field("options", &self.options)
            .finish()
    }
}

impl HoldsRows for Reducer {
    fn rows(&self) -> &Rows {
        self.registry.rows()
    }

    fn timeout(&self) -> Option<Duration> {
        self.options.timeout()
    }
}

impl HoldsRows for &Reducer {
    fn rows(&self) -> &Rows {
        self.registry.rows()
    }

    fn timeout(&self) -> Option<Duration> {
        self.options.timeout()
    }
}

static GLOBAL: OnceLock<Reducer> = OnceLock::new();

/// Tells `hooks` of every call and flight of [`Reducer::global`]: of every `#[reduceable]` function that names no
/// reducer, and of [`reduce`]. To be called once, when the program starts; for several, [`Hooks::and`].
///
/// # Errors
/// [`SetHooksError`]: hooks were set before, or the reducer has been used already. Nothing is changed then.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use reducer_core::{StatisticsOverallHooks, set_global_hooks};
///
/// let stats = StatisticsOverallHooks::new();
/// set_global_hooks(stats.clone()).unwrap();
/// reducer_core::reduce(1, async { "row" }).await;
/// assert_eq!(stats.total(), 1);
/// assert!(set_global_hooks(stats).unwrap_err().to_string().contains("once"));
/// # }
/// ```
pub fn set_global_hooks(hooks: impl Hooks) -> Result<(), SetHooksError> {
    let mut mine = Some(hooks);
    let global = GLOBAL.get_or_init(|| {
        let mut builder = ReducerBuilder::default();
        builder.hooks.extend(mine.take());
        builder.build()
    });
    match mine {
        None => Ok(()),
        Some(_) => Err(SetHooksError { twice: global.registry.rows().hooks().is_some() }),
    }
}

/// As [`Reducer::reduce`] on [`Reducer::global`].
///
/// # Cancel safety
/// As for [`Reducer::reduce`].
///
/// # Panics
/// As [`Reducer::reduce`].
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// assert_eq!(reducer_core::reduce("greeting", async { "hello" }).await, "hello");
/// # }
/// ```
pub fn reduce<K, F>(key: K, work: F) -> impl Future<Output = F::Output>
where
    K: Hash + Eq + Send + Sync + 'static,
    F: Future<Output: Clone + Send + Sync + 'static> + Send + 'static,
{
    Reducer::global().reduce(key, work)
}

/// What a call got, and what it was to its flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reduced<V> {
    /// The outcome, or a clone of it.
    pub value: V,
    /// Whether this call started the flight.
    pub role: Role,
}

/// What a call was to its flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// It started the flight.
    Led,
    /// It joined a flight that was in the air already.
    Joined,
}

/// Options of a [`Reducer`]. Each call sets one; [`build`](Self::build) ends it.
#[derive(Clone, Debug, Default)]
#[must_use = "a builder does nothing until `build`"]
pub struct ReducerBuilder {
    options: Options,
    hooks: AllHooks,
}

impl ReducerBuilder {
    /// Every flight is given `limit` from its start; then its work is dropped and all its callers get
    /// [`ReduceError::TimedOut`](crate::ReduceError::TimedOut). Default: none.
    ///
    /// Async calls must be made inside a tokio runtime then. Work of `reduce_blocking` cannot be stopped:
    /// the limit does not concern it.
    #[cfg(feature = "tokio")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
    pub fn timeout(mut self, limit: Duration) -> Self {
        self.options.set_timeout(limit);
        self
    }

    /// At most `limit` followers wait on one flight; a call beyond gets
    /// [`ReduceError::Overloaded`](crate::ReduceError::Overloaded) at once. Default: no limit.
    pub fn max_followers(mut self, limit: usize) -> Self {
        self.options.set_max_followers(limit);
        self
    }

    /// Whether work goes on, in a task of its own, when its last caller has left. Default: `false`.
    ///
    /// Async calls must be made inside a tokio runtime then.
    #[cfg(feature = "tokio")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
    pub fn detached(mut self, detached: bool) -> Self {
        self.options.detached = detached;
        self
    }

    /// Tells `hooks` of every call and flight of the reducer and its clones. May be called more than once: all are
    /// told, in the order given. Default: nobody.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reducer_core::{Reducer, StatisticsDetailHooks, StatisticsOverallHooks};
    ///
    /// let (overall, detail) = (StatisticsOverallHooks::new(), StatisticsDetailHooks::new());
    /// let reducer = Reducer::builder().hooks(overall.clone()).hooks(detail.clone()).build();
    /// reducer.reduce(1, async { "row" }).await;
    /// assert_eq!((overall.executed(), detail.total()[0].1), (1, 1));
    /// # }
    /// ```
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks.push(hooks);
        self
    }

    /// The reducer.
    #[must_use]
    pub fn build(self) -> Reducer {
        Reducer { registry: Registry::new(self.hooks), options: self.options }
    }
}
