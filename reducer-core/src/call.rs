//! A call as a future: looks for its flight when it is first polled, and waits for it.

use std::any::Any;
use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::error::ReduceError;
use crate::flight::{
    Craft, Deadline, Flight, HoldsRows, Site, Stake, Waiting, enter, quietly, wreck,
};
use crate::key::{ByEq, Key, Owned, Same};
use crate::reducer::{Reduced, Reducer, Role};
use crate::registry::{Admission, Options};

/// How the leader comes to its work.
pub(crate) trait Work<K> {
    type Fly;
    /// The work, or what its building said when it panicked. In the name of `flight`: what it calls is called
    /// from inside.
    fn begin(self, flight: Arc<dyn Craft>, key: &K) -> Result<Self::Fly, Box<dyn Any + Send>>;
}

/// The work is there.
pub(crate) struct Ready<F>(pub(crate) F);

impl<K, F> Work<K> for Ready<F> {
    type Fly = F;

    fn begin(self, _: Arc<dyn Craft>, _: &K) -> Result<F, Box<dyn Any + Send>> {
        Ok(self.0)
    }
}

/// The work is to be built.
pub(crate) struct Build<W>(pub(crate) W);

impl<K, W: FnOnce() -> F, F> Work<K> for Build<W> {
    type Fly = F;

    fn begin(self, flight: Arc<dyn Craft>, _: &K) -> Result<F, Box<dyn Any + Send>> {
        let _aboard = enter(flight);
        catch_unwind(AssertUnwindSafe(self.0))
    }
}

/// The work is a function's, applied to the key.
pub(crate) struct Apply<W>(pub(crate) Arc<W>);

impl<K: Clone, W: Fn(K) -> F, F> Work<K> for Apply<W> {
    type Fly = F;

    fn begin(self, flight: Arc<dyn Craft>, key: &K) -> Result<F, Box<dyn Any + Send>> {
        let _aboard = enter(flight);
        catch_unwind(AssertUnwindSafe(|| (self.0)(key.clone())))
    }
}

/// A call that has not found its flight yet.
struct Start<P, K, S, W> {
    site: Site,
    wanted: Option<Wanted<P, K, S>>,
    work: Option<W>,
}

/// The key it looks for.
enum Wanted<P, K, S> {
    /// In the caller's form, not yet hashed.
    Asked(P),
    /// In the caller's form.
    Hashed(u64, P),
    /// Nothing was found for it; it is owned, and the call will lead if still there is nothing.
    Own(u64, K, S),
}

impl<P, W, V> Start<P, P::Owned, P::Same, W>
where
    P: Key,
    V: Clone + Send + Sync + 'static,
    W: Work<P::Owned, Fly: Future<Output = V> + Send + 'static>,
{
    /// Takes a stake in a flight: leads, follows, or stands by until one ends that is in the way.
    fn board<R>(&mut self, holder: &R) -> Result<Waiting<R, V>, ReduceError>
    where
        R: HoldsRows + Borrow<Reducer> + Clone,
    {
        let reducer: &Reducer = holder.borrow();
        let registry = &reducer.registry;
        let admission = loop {
            match self.wanted.take().expect("a future is not polled after it was ready") {
                Wanted::Asked(key) => {
                    check_runtime(&reducer.options)?;
                    let hash = registry.hash_with(|hasher| key.hash(hasher));
                    self.wanted = Some(if P::IS_OWNED {
                        let (key, same) = key.into_owned();
                        Wanted::Own(hash, key, same)
                    } else {
                        Wanted::Hashed(hash, key)
                    });
                }
                Wanted::Hashed(hash, key) => {
                    match registry.find::<V, P>(&reducer.options, hash, self.site, &key) {
                        Admission::Absent => {
                            let (key, same) = key.into_owned();
                            self.wanted = Some(Wanted::Own(hash, key, same));
                        }
                        admission => {
                            self.wanted = Some(Wanted::Hashed(hash, key));
                            break admission;
                        }
                    }
                }
                Wanted::Own(hash, key, same) => {
                    let (mut key, work) = (Some(key), &mut self.work);
                    let waiting = board_owned(holder, self.site, hash, &mut key, &same, work);
                    self.wanted = key.map(|key| Wanted::Own(hash, key, same));
                    return waiting;
                }
            }
        };
        let waiting = stake_in(admission, holder)?;
        if waiting.stake() == Stake::Follower {
            // Only now that the stake is ours to give up: these may panic when they are dropped.
            self.wanted = None;
            self.work = None;
        }
        Ok(waiting)
    }
}

/// As [`Start::board`], with a key that was owned when nothing was found for it. Takes key and work when they
/// are no longer needed.
pub(crate) fn board_owned<R, K, S, W, V>(
    holder: &R,
    site: Site,
    hash: u64,
    key: &mut Option<K>,
    same: &S,
    work: &mut Option<W>,
) -> Result<Waiting<R, V>, ReduceError>
where
    R: HoldsRows + Borrow<Reducer> + Clone,
    K: Send + Sync + 'static,
    S: Same<K>,
    W: Work<K, Fly: Future<Output = V> + Send + 'static>,
    V: Clone + Send + Sync + 'static,
{
    let reducer: &Reducer = holder.borrow();
    let (admission, led) = reducer.registry.admit(&reducer.options, hash, site, key, same);
    if let Some(flight) = led {
        lead(reducer, &flight, work.take().expect("no flight is led twice"))?;
        return Ok(Waiting::new(flight, holder.clone(), Stake::Leader));
    }
    let waiting = stake_in(admission, holder)?;
    if waiting.stake() == Stake::Follower {
        *key = None;
        *work = None;
    }
    Ok(waiting)
}

/// The stake of a call that does not lead.
pub(crate) fn stake_in<R, V>(admission: Admission, holder: &R) -> Result<Waiting<R, V>, ReduceError>
where
    R: HoldsRows + Clone,
{
    match admission {
        Admission::Joined(flight) => Ok(Waiting::new(flight, holder.clone(), Stake::Follower)),
        Admission::Ending(flight) => Ok(Waiting::new(flight, holder.clone(), Stake::Bystander)),
        Admission::Refused(error) => Err(error),
        Admission::Led | Admission::Absent => {
            unreachable!("who leads has a flight, and who would lead is not told `Absent`")
        }
    }
}

pin_project! {
    /// A call that gives what happened.
    //
    // The key's owned form `K`, its equality `S` and the value `V` follow from `P` and `W`. They are
    // parameters all the same: with projections in its fields the future would be `Send` only where
    // `P: Key` holds for *any* lifetime, and a `&'static str` as a key inside an `async` block would not
    // compile (rust-lang/rust#102211).
    pub(crate) struct TryCall<R, P, K, S, W, V>
    where
        R: HoldsRows,
    {
        reducer: R,
        start: Start<P, K, S, W>,
        #[pin]
        waiting: Option<Waiting<R, V>>,
    }
}

impl<R, P, W, V> TryCall<R, P, P::Owned, P::Same, W, V>
where
    R: HoldsRows,
    P: Key,
{
    pub(crate) fn new(reducer: R, site: Site, key: P, work: W) -> Self {
        let start = Start { site, wanted: Some(Wanted::Asked(key)), work: Some(work) };
        Self { reducer, start, waiting: None }
    }
}

impl<R, P, W, V> Future for TryCall<R, P, P::Owned, P::Same, W, V>
where
    R: HoldsRows + Borrow<Reducer> + Clone,
    P: Key,
    V: Clone + Send + Sync + 'static,
    W: Work<P::Owned, Fly: Future<Output = V> + Send + 'static>,
{
    type Output = Result<Reduced<V>, ReduceError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        loop {
            if let Some(waiting) = this.waiting.as_mut().as_pin_mut() {
                let role = match waiting.stake() {
                    Stake::Leader => Role::Led,
                    Stake::Follower => Role::Joined,
                    Stake::Bystander => {
                        ready!(waiting.poll_ended(cx));
                        this.waiting.set(None);
                        continue;
                    }
                };
                let outcome = ready!(waiting.poll_outcome(cx));
                return Poll::Ready(outcome.map(|value| Reduced { value, role }));
            }
            let waiting = this.start.board(this.reducer)?;
            this.waiting.set(Some(waiting));
        }
    }
}

/// Boards the work, which may still have to be built. If that panics the flight has landed with it.
pub(crate) fn lead<K, F, W>(
    reducer: &Reducer,
    flight: &Arc<Flight<K, F::Output, F>>,
    work: W,
) -> Result<(), ReduceError>
where
    K: Send + Sync + 'static,
    F: Future<Output: Clone + Send + Sync + 'static> + Send + 'static,
    W: Work<K, Fly = F>,
{
    let craft = Arc::clone(flight) as Arc<dyn Craft>;
    // The clock first: where there is none, nothing is begun.
    let begun = match deadline(&reducer.options) {
        Ok(deadline) => work.begin(craft, flight.key()).map(|work| flight.board(work, deadline)),
        Err(payload) => {
            quietly(|| drop(work));
            Err(payload)
        }
    };
    match begun {
        Ok(()) => Ok(()),
        Err(payload) => {
            let error = wreck(&**flight, payload);
            flight.land(Err(error.clone()), reducer.rows(), true);
            Err(error)
        }
    }
}

/// When the flight's time is over. tokio panics where a runtime has no clock.
#[cfg(all(feature = "tokio", not(loom)))]
fn deadline(options: &Options) -> Result<Option<Deadline>, Box<dyn Any + Send>> {
    match options.timeout {
        None => Ok(None),
        Some(timeout) => catch_unwind(|| Some(Deadline::after(timeout))),
    }
}

#[cfg(not(all(feature = "tokio", not(loom))))]
fn deadline(options: &Options) -> Result<Option<Deadline>, Box<dyn Any + Send>> {
    debug_assert!(options.timeout.is_none(), "there is no clock, and no option for one");
    Ok(None)
}

/// The options that need a runtime have one, or say so.
#[cfg(all(feature = "tokio", not(loom)))]
pub(crate) fn check_runtime(options: &Options) -> Result<(), ReduceError> {
    let option = match options {
        Options { timeout: Some(_), .. } => "timeout",
        Options { detached: true, .. } => "detached",
        _ => return Ok(()),
    };
    crate::flight::require_runtime(option).map_err(ReduceError::NoRuntime)
}

#[cfg(not(all(feature = "tokio", not(loom))))]
pub(crate) fn check_runtime(_: &Options) -> Result<(), ReduceError> {
    Ok(())
}

pin_project! {
    /// A call that gives the value, and panics where there is none.
    pub(crate) struct Call<T> {
        #[pin]
        call: T,
    }
}

#[allow(non_snake_case, reason = "reads as the wrapper that it is")]
pub(crate) fn Call<T>(call: T) -> Call<T> {
    Call { call }
}

impl<T, V> Future for Call<T>
where
    T: Future<Output = Result<Reduced<V>, ReduceError>>,
{
    type Output = V;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<V> {
        match ready!(self.project().call.poll(cx)) {
            Ok(reduced) => Poll::Ready(reduced.value),
            Err(error) => error.raise(),
        }
    }
}

type Applied<A, F, V> = Call<TryCall<Reducer, Owned<A>, A, ByEq, Apply<F>, V>>;

pin_project! {
    /// A call of a function made by [`Reducer::wrap`].
    #[must_use = "futures do nothing unless polled"]
    pub struct Wrapped<A, F, V> {
        #[pin]
        call: Applied<A, F, V>,
    }
}

impl<A, F, V> Wrapped<A, F, V>
where
    A: Hash + Eq + Send + Sync + 'static,
{
    pub(crate) fn new(reducer: Reducer, site: Site, f: Arc<F>, arg: A) -> Self {
        Self { call: Call(TryCall::new(reducer, site, Owned(arg), Apply(f))) }
    }
}

impl<A, F, Fut> Future for Wrapped<A, F, Fut::Output>
where
    A: Hash + Eq + Clone + Send + Sync + 'static,
    F: Fn(A) -> Fut,
    Fut: Future<Output: Clone + Send + Sync + 'static> + Send + 'static,
{
    type Output = Fut::Output;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Fut::Output> {
        self.project().call.poll(cx)
    }
}

impl<A, F, V> fmt::Debug for Wrapped<A, F, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wrapped").finish_non_exhaustive()
    }
}
