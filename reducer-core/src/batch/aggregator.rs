//! The door: an aggregator by hand, its options, its counts.

use std::any::type_name;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use ahash::RandomState;
use tokio::runtime::Handle;

use super::answers::Answers;
use super::call::{AggregateCall, AggregateCalls};
use super::carrier::{Carrier, Dedupe};
use super::core::{Batch, Core, Options};
use super::slot::Slot;
use super::watch;
use crate::hooks::{AllHooks, Hooks};

/// Makes many single calls into one batch.
///
/// Calls that come within a window, the *leeway*, are one *batch*: the function gets all their arguments in order of
/// arrival, and each caller gets its own answer. It is a handle: clones share the open batch and the limits. Nothing is
/// kept: this is not a cache, and equal arguments go as often as they are called, unless
/// [`dedupe`](AggregatorBuilder::dedupe).
///
/// A batch runs once, in a task of its own: no caller's cancellation disturbs it or has it run again. There is no task
/// and no timer while nobody waits. Calls are made inside a tokio runtime; those of different runtimes are not in one
/// batch, so a runtime that is shut down fails its own callers only, and a static aggregator goes on in the next one.
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use reducer_core::Aggregator;
/// use std::time::Duration;
///
/// let names = Aggregator::builder()
///     .leeway(Duration::from_millis(10))
///     .max_count(100)
///     .build(|ids: Vec<u64>| async move {
///         assert_eq!(ids, [7, 8]); // one query
///         ids.iter().map(|id| format!("user {id}")).collect::<Vec<_>>()
///     });
/// let (seven, eight) = tokio::join!(names.call(7), names.call(8));
/// assert_eq!((seven.unwrap(), eight.unwrap()), ("user 7".to_string(), "user 8".to_string()));
/// # }
/// ```
pub struct Aggregator<T, R, E = Infallible>(Arc<Inner<T, R, E>>);

type Launch<T, R, E> = dyn Fn(Carrier<(), T, R, E>, &Handle) + Send + Sync;

pub(super) struct Inner<T, R, E> {
    pub(super) core: Arc<Core<(), T, R, E>>,
    pub(super) options: Options,
    /// The hash of an argument, if equal ones go once.
    pub(super) mark: Option<fn(&RandomState, &T) -> u64>,
    pub(super) launch: Box<Launch<T, R, E>>,
}

impl Aggregator<(), ()> {
    /// Options first, then [`build`](AggregatorBuilder::build) or [`build_slots`](AggregatorBuilder::build_slots).
    pub fn builder() -> AggregatorBuilder {
        AggregatorBuilder {
            options: Options {
                leeway: Duration::from_millis(10),
                max_count: usize::MAX,
                max_concurrent: usize::MAX,
                max_waiting: usize::MAX,
                dedupe: false,
            },
            hooks: AllHooks::default(),
            is_immediate: false,
            equal: PhantomData,
        }
    }
}

impl<T, R, E> Aggregator<T, R, E> {
    pub(super) fn inner(&self) -> &Inner<T, R, E> {
        &self.0
    }

    /// Puts `arg` into the open batch, and waits for its answer.
    ///
    /// Nothing happens before the first poll: that is when the call arrives. The future owns what it needs, so it can
    /// be spawned.
    ///
    /// # Cancel safety
    /// Dropped before its batch is dispatched, the call is not in it: the function does not see the argument. Dropped
    /// later it loses its answer, and the batch goes on. Neither disturbs anybody else.
    ///
    /// # Errors
    /// [`AggregateError`](crate::AggregateError): the batch failed, panicked, gave the wrong number of answers or left
    /// this one out; too many wait; there is no tokio runtime, or it was shut down.
    ///
    /// # Panics
    /// Only if the waker's, or with `dedupe` the argument's, own code does.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::Aggregator;
    ///
    /// let squares = Aggregator::builder()
    ///     .build(|ns: Vec<u64>| async move { ns.iter().map(|n| n * n).collect::<Vec<_>>() });
    /// assert_eq!(squares.call(4).await.unwrap(), 16);
    /// # }
    /// ```
    pub fn call(&self, arg: T) -> AggregateCall<T, R, E> {
        AggregateCall::new(self.clone(), arg)
    }

    /// As [`call`](Self::call) for each of `args`: their answers in the same order. They arrive one after another, at
    /// the first poll; where they are more than `max_count`, they are several batches.
    ///
    /// # Cancel safety
    /// As for [`call`](Self::call), for each of them.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::Aggregator;
    ///
    /// let squares = Aggregator::builder()
    ///     .build(|ns: Vec<u64>| async move { ns.iter().map(|n| n * n).collect::<Vec<_>>() });
    /// let all: Result<Vec<u64>, _> = squares.call_many(1..=3).await.into_iter().collect();
    /// assert_eq!(all.unwrap(), [1, 4, 9]);
    /// assert_eq!(squares.stats().batches, 1);
    /// # }
    /// ```
    pub fn call_many(&self, args: impl IntoIterator<Item = T>) -> AggregateCalls<T, R, E> {
        AggregateCalls::new(args.into_iter().map(|arg| self.call(arg)).collect())
    }

    /// The open batch waits for no more calls, only for a place if `max_concurrent` are running. Happens at
    /// once; what it returns may be awaited until all who wait now have been served, or dropped.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::Aggregator;
    /// use std::time::Duration;
    ///
    /// let squares = Aggregator::builder()
    ///     .leeway(Duration::from_secs(3600))
    ///     .build(|ns: Vec<u64>| async move { ns.iter().map(|n| n * n).collect::<Vec<_>>() });
    /// let call = tokio::spawn(squares.call(4));
    /// tokio::task::yield_now().await;
    /// squares.flush().await;
    /// assert_eq!(call.await.unwrap().unwrap(), 16);
    /// # }
    /// ```
    pub fn flush(&self) -> Flushed
    where
        T: Send + 'static,
        R: Send + 'static,
        E: Send + Sync + 'static,
    {
        let batches = self.0.core.flush();
        Flushed(batches.into_iter().map(|batch| batch as Arc<dyn Watch>).collect())
    }

    /// The counts as they are now.
    #[must_use]
    pub fn stats(&self) -> AggregateStats {
        self.0.core.stats()
    }
}

impl<T, R, E> Clone for Aggregator<T, R, E> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, R, E> fmt::Debug for Aggregator<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregator")
            .field("stats", &self.stats())
            .field("options", &self.0.options)
            .finish()
    }
}

/// What an aggregator has done, and is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct AggregateStats {
    /// Batches dispatched so far.
    pub batches: usize,
    /// Calls that have arrived so far. Those refused as `Full` are not among them.
    pub calls: usize,
    /// Batches that failed, or gave the wrong number of answers.
    pub errors: usize,
    /// Batches that panicked.
    pub panics: usize,
    /// Calls dropped before they had their answer.
    pub abandoned: usize,
    /// Batches whose function runs now.
    pub running: usize,
    /// Calls whose batch is not dispatched yet.
    pub waiting: usize,
}

/// The batches that [`flush`](Aggregator::flush) found waiting. Done when they are over.
pub struct Flushed(Vec<Arc<dyn Watch>>);

trait Watch: Send + Sync {
    fn poll_end(&self, cx: &Context<'_>) -> Poll<()>;
}

impl<G, T, R, E> Watch for Batch<G, T, R, E>
where
    G: Send + Sync,
    T: Send,
    R: Send,
    E: Send + Sync,
{
    fn poll_end(&self, cx: &Context<'_>) -> Poll<()> {
        self.slots.poll_end(cx)
    }
}

impl Future for Flushed {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        while let Some(last) = self.0.last() {
            ready!(last.poll_end(cx));
            self.0.pop();
        }
        Poll::Ready(())
    }
}

impl fmt::Debug for Flushed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flushed").field("batches", &self.0.len()).finish()
    }
}

/// Of an [`AggregatorBuilder`]: every argument goes, as often as it is called.
#[derive(Clone, Copy, Debug)]
pub struct AsCalled(());

/// Of an [`AggregatorBuilder`]: equal arguments of a batch go once.
#[derive(Clone, Copy, Debug)]
pub struct Deduped(());

/// Options of an [`Aggregator`]. Each call sets one; [`build`](Self::build) ends it.
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing until `build`"]
pub struct AggregatorBuilder<D = AsCalled> {
    options: Options,
    hooks: AllHooks,
    is_immediate: bool,
    equal: PhantomData<D>,
}

impl<D> AggregatorBuilder<D> {
    /// How long a batch waits for more calls, counted from its first; it never restarts. Default: 10 ms.
    ///
    /// # Panics
    /// If `leeway` is zero, unless [`immediate`](Self::immediate) was said.
    #[track_caller]
    pub fn leeway(mut self, leeway: Duration) -> Self {
        assert!(
            self.is_immediate || !leeway.is_zero(),
            "`leeway` is zero: batches of one; give it a time, or say `immediate()`"
        );
        self.options.leeway = leeway;
        self
    }

    /// No leeway: a batch goes as soon as there is a place, which with
    /// [`max_concurrent`](Self::max_concurrent) makes the load itself the window.
    pub fn immediate(mut self) -> Self {
        self.options.leeway = Duration::ZERO;
        self.is_immediate = true;
        self
    }

    /// A batch of so many calls goes at once, and none is larger. With 1 nobody waits. Default: no limit.
    ///
    /// With [`dedupe`](Self::dedupe), so many *different* arguments; told by their hash, which only a `Hash` that
    /// collides on purpose makes less exact.
    ///
    /// # Panics
    /// If `max_count` is zero.
    #[track_caller]
    pub fn max_count(mut self, max_count: usize) -> Self {
        assert!(max_count > 0, "`max_count` is zero: no call would ever be answered");
        self.options.max_count = max_count;
        self
    }

    /// So many batches run at once. Beyond, a batch goes on filling until one of them ends, and full ones
    /// queue. Default: no limit.
    ///
    /// # Panics
    /// If `max_concurrent` is zero.
    #[track_caller]
    pub fn max_concurrent(mut self, max_concurrent: usize) -> Self {
        assert!(max_concurrent > 0, "`max_concurrent` is zero: no batch would ever run");
        self.options.max_concurrent = max_concurrent;
        self
    }

    /// So many calls wait for their batch to be dispatched; one beyond gets
    /// [`AggregateError::Full`](crate::AggregateError::Full) at once. Default: no limit.
    ///
    /// # Panics
    /// If `max_waiting` is zero.
    #[track_caller]
    pub fn max_waiting(mut self, max_waiting: usize) -> Self {
        assert!(max_waiting > 0, "`max_waiting` is zero: every call would be refused");
        self.options.max_waiting = max_waiting;
        self
    }

    /// Tells `hooks` of every call and batch. May be called more than once. The call that opens a batch *leads* it
    /// (`on_executing`), the others have *joined* (`on_reducing`); a batch ends with `on_result`, `on_error` (it failed,
    /// panicked, or gave the wrong number of answers) or `on_cancelled` (all had left, or its runtime was shut down).
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::{Aggregator, StatisticsOverallHooks};
    ///
    /// let stats = StatisticsOverallHooks::new();
    /// let squares = Aggregator::builder()
    ///     .hooks(stats.clone())
    ///     .build(|ns: Vec<u64>| async move { ns.iter().map(|n| n * n).collect::<Vec<_>>() });
    /// squares.call_many(1..=10).await;
    /// assert_eq!(stats.to_string(), "Stats(total=10, executed=1, reduced=9, errors=0)");
    /// # }
    /// ```
    pub fn hooks(mut self, hooks: impl Hooks) -> Self {
        self.hooks.push(hooks);
        self
    }
}

impl AggregatorBuilder {
    pub(super) fn options(self) -> Options {
        self.options
    }
}

type Seatless<T, R> = (Option<Dedupe<T, R>>, Option<fn(&RandomState, &T) -> u64>);

impl<D> AggregatorBuilder<D> {
    fn answering<T, A, F, Fut>(
        self,
        (dedupe, mark): Seatless<T, A::Answer>,
        work: F,
    ) -> Aggregator<T, A::Answer, A::Error>
    where
        T: Send + 'static,
        A: Answers<T, Answer: Send + 'static, Error: Send + Sync + 'static> + 'static,
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = A> + Send + 'static,
    {
        let work = Arc::new(work);
        self.launching(type_name::<F>, mark, move |carrier, handle| {
            let work = Arc::clone(&work);
            drop(handle.spawn(carrier.carry(move |args, ()| work(args), dedupe)));
        })
    }

    fn setting<T, R, F, Fut>(self, (dedupe, mark): Seatless<T, R>, work: F) -> Aggregator<T, R>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Fn(Vec<Slot<T, R>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let work = Arc::new(work);
        self.launching(type_name::<F>, mark, move |carrier, handle| {
            let work = Arc::clone(&work);
            drop(handle.spawn(carrier.carry_slots(
                move |slots, ()| work(slots),
                dedupe,
                |()| None,
            )));
        })
    }

    fn launching<T, R, E>(
        mut self,
        name: fn() -> &'static str,
        mark: Option<fn(&RandomState, &T) -> u64>,
        launch: impl Fn(Carrier<(), T, R, E>, &Handle) + Send + Sync + 'static,
    ) -> Aggregator<T, R, E> {
        self.options.dedupe = mark.is_some();
        Aggregator(Arc::new(Inner {
            core: Arc::new(Core::new(watch::Watch::new(self.hooks, name))),
            options: self.options,
            mark,
            launch: Box::new(launch),
        }))
    }
}

impl AggregatorBuilder<AsCalled> {
    /// Equal arguments of one batch go once, and their callers each get a clone of the answer. Default: as
    /// often as they are called.
    ///
    /// `build` then asks for `T: Hash + Eq + Clone` and a `Clone` answer.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::Aggregator;
    ///
    /// let lengths = Aggregator::builder().dedupe().build(|words: Vec<&'static str>| async move {
    ///     assert_eq!(words, ["one", "three"]);
    ///     words.iter().map(|word| word.len()).collect::<Vec<_>>()
    /// });
    /// let answers = lengths.call_many(["one", "three", "one"]).await;
    /// assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [3, 5, 3]);
    /// # }
    /// ```
    pub fn dedupe(self) -> AggregatorBuilder<Deduped> {
        let Self { options, hooks, is_immediate, .. } = self;
        AggregatorBuilder { options, hooks, is_immediate, equal: PhantomData }
    }

    /// The aggregator of a batch function that returns its answers: a `Vec`, one for each argument in their order, or
    /// a `HashMap` by argument, or either in a `Result`; see [`Answers`].
    ///
    /// The function runs in a task of its own, never in a caller's, and may panic: its callers get
    /// [`AggregateError::Panicked`](crate::AggregateError::Panicked), and the next batch is unharmed.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::Aggregator;
    /// use std::collections::HashMap;
    ///
    /// let users = Aggregator::builder().build(|ids: Vec<u64>| async move {
    ///     let known = ids.into_iter().filter(|id| *id < 100);
    ///     Ok::<_, std::io::Error>(known.map(|id| (id, format!("user {id}"))).collect::<HashMap<_, _>>())
    /// });
    /// assert_eq!(users.call(7).await.unwrap(), Some("user 7".to_string()));
    /// assert_eq!(users.call(700).await.unwrap(), None);
    /// # }
    /// ```
    pub fn build<T, A, F, Fut>(self, work: F) -> Aggregator<T, A::Answer, A::Error>
    where
        T: Send + 'static,
        A: Answers<T, Answer: Send + 'static, Error: Send + Sync + 'static> + 'static,
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = A> + Send + 'static,
    {
        self.answering((None, None), work)
    }

    /// The aggregator of a batch function that answers each call by itself: see [`Slot`].
    pub fn build_slots<T, R, F, Fut>(self, work: F) -> Aggregator<T, R>
    where
        T: Send + 'static,
        R: Send + 'static,
        F: Fn(Vec<Slot<T, R>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.setting((None, None), work)
    }
}

impl AggregatorBuilder<Deduped> {
    /// As without [`dedupe`](AggregatorBuilder::dedupe).
    pub fn build<T, A, F, Fut>(self, work: F) -> Aggregator<T, A::Answer, A::Error>
    where
        T: Hash + Eq + Clone + Send + 'static,
        A: Answers<T, Answer: Clone + Send + 'static, Error: Send + Sync + 'static> + 'static,
        F: Fn(Vec<T>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = A> + Send + 'static,
    {
        self.answering(once(), work)
    }

    /// As without [`dedupe`](AggregatorBuilder::dedupe).
    pub fn build_slots<T, R, F, Fut>(self, work: F) -> Aggregator<T, R>
    where
        T: Hash + Eq + Clone + Send + 'static,
        R: Clone + Send + 'static,
        F: Fn(Vec<Slot<T, R>>) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        self.setting(once(), work)
    }
}

fn once<T: Hash + Eq + Clone, R: Clone>() -> Seatless<T, R> {
    let dedupe = Dedupe { fold: fold::<T>, unfold: unfold::<R>, clone: R::clone };
    (Some(dedupe), Some(|hasher, arg| hasher.hash_one(arg)))
}

fn fold<T: Hash + Eq + Clone>(args: Vec<T>) -> (Vec<T>, Vec<usize>) {
    let mut numbers = HashMap::<T, usize, RandomState>::default();
    numbers.reserve(args.len());
    let mut different = Vec::with_capacity(args.len());
    let owners = args.into_iter().map(|arg| match numbers.get(&arg) {
        Some(number) => *number,
        None => {
            numbers.insert(arg.clone(), different.len());
            different.push(arg);
            different.len() - 1
        }
    });
    let owners = owners.collect();
    (different, owners)
}

fn unfold<R: Clone>(answers: Vec<R>, owners: &[usize]) -> Vec<R> {
    // The last to share an answer takes it, the others have clones.
    let mut left = vec![0usize; answers.len()];
    for owner in owners {
        left[*owner] += 1;
    }
    let mut answers: Vec<Option<R>> = answers.into_iter().map(Some).collect();
    let take = |owner: &usize| {
        left[*owner] -= 1;
        match left[*owner] {
            0 => answers[*owner].take(),
            _ => answers[*owner].clone(),
        }
    };
    owners.iter().filter_map(take).collect()
}
