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
use crate::flight::{Cargo, Hold, HoldsRows, Led, Ready, Site, Stake, Waiting, quietly, within};
use crate::key::{ByEq, Key, Owned, Same};
use crate::reducer::{Reduced, Reducer, Role};
use crate::registry::{Admission, Options};

/// What a leader brings. It alone knows the type of the work: all around it is compiled once for a key and a
/// value type, not once for every function.
pub(crate) trait Work<K, V, S> {
    /// The work, or a place for it. Called under a lock: runs no user code. Not called twice.
    fn cargo(&mut self) -> Cargo<'_, K, V, S>;

    /// Builds the work if there is but a place for it, and in the name of `flight`, which was launched with our cargo:
    /// what is called is called from inside. The error is what that said when it panicked.
    fn begin(&mut self, _flight: &Hold) -> Result<(), Box<dyn Any + Send>> {
        Ok(())
    }
}

/// The work is there.
impl<K, S, F> Work<K, F::Output, S> for Ready<F>
where
    K: Send + Sync + 'static,
    S: Same<K>,
    F: Future<Output: Send + Sync + 'static> + Send + 'static,
{
    fn cargo(&mut self) -> Cargo<'_, K, F::Output, S> {
        Ready::cargo(self)
    }
}

/// It is there, and its type is forgotten.
impl<K, V, S> Work<K, V, S> for Cargo<'_, K, V, S> {
    fn cargo(&mut self) -> Cargo<'_, K, V, S> {
        self.take()
    }
}

/// The work is to be built.
pub(crate) struct Build<W>(pub(crate) Option<W>);

impl<K, V, S, W, F> Work<K, V, S> for Build<W>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Same<K>,
    W: FnOnce() -> F,
    F: Future<Output = V> + Send + 'static,
{
    fn cargo(&mut self) -> Cargo<'_, K, V, S> {
        Cargo::later::<F>()
    }

    fn begin(&mut self, flight: &Hold) -> Result<(), Box<dyn Any + Send>> {
        let build = self.0.take().expect("no flight is begun twice");
        board(flight, build)
    }
}

/// The work is a function's, applied to the key.
pub(crate) struct Apply<W>(pub(crate) Arc<W>);

impl<K, V, S, W, F> Work<K, V, S> for Apply<W>
where
    K: Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Same<K>,
    W: Fn(K) -> F,
    F: Future<Output = V> + Send + 'static,
{
    fn cargo(&mut self) -> Cargo<'_, K, V, S> {
        Cargo::later::<F>()
    }

    fn begin(&mut self, flight: &Hold) -> Result<(), Box<dyn Any + Send>> {
        let key = flight.key().downcast_ref::<K>().expect("launched with this key");
        board(flight, || (self.0)(key.clone()))
    }
}

fn board<F: 'static>(flight: &Hold, build: impl FnOnce() -> F) -> Result<(), Box<dyn Any + Send>> {
    let work = within(flight, || catch_unwind(AssertUnwindSafe(build)))?;
    flight.board(work);
    Ok(())
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

/// The stake that a call has come to.
pub(crate) enum Boarded<R: HoldsRows, V> {
    Led(Led<R>),
    /// Follows, or stands by.
    Waits(Waiting<R, V>),
}

impl<P: Key, W> Start<P, P::Owned, P::Same, W> {
    /// Takes a stake in a flight: leads, follows, or stands by until one ends that is in the way.
    #[inline]
    fn board<R, V>(&mut self, holder: &R) -> Result<Boarded<R, V>, ReduceError>
    where
        R: HoldsRows + Borrow<Reducer> + Clone,
        V: Clone + Send + Sync + 'static,
        W: Work<P::Owned, V, P::Same>,
    {
        let reducer: &Reducer = holder.borrow();
        let registry = &reducer.registry;
        let wanted = match self.wanted.take().expect(READY) {
            Wanted::Asked(key) => {
                check_runtime(&reducer.options)?;
                let hash = registry.hash_with(|hasher| key.hash(hasher));
                if P::is_free() {
                    let (key, same) = key.into_owned();
                    Wanted::Own(hash, key, same)
                } else {
                    Wanted::Hashed(hash, key)
                }
            }
            hashed => hashed,
        };
        let (hash, key, same) = match wanted {
            Wanted::Own(hash, key, same) => (hash, key, same),
            Wanted::Asked(_) => unreachable!("hashed above"),
            Wanted::Hashed(hash, key) => {
                match registry.find::<V, P>(&reducer.options, hash, self.site, &key) {
                    Admission::Absent => {
                        let (key, same) = key.into_owned();
                        (hash, key, same)
                    }
                    Admission::Joined(flight) => {
                        let waiting = Waiting::new(flight, holder.clone(), Stake::Follower);
                        // Only now that the stake is ours to give up: these may panic when they are dropped.
                        drop(key);
                        self.work = None;
                        return Ok(Boarded::Waits(waiting));
                    }
                    admission => {
                        self.wanted = Some(Wanted::Hashed(hash, key));
                        return stake_in(admission, holder);
                    }
                }
            }
        };
        let (mut key, work) = (Some(key), self.work.as_mut());
        let work = work.expect("kept until there is a stake");
        let boarded = board_owned(holder, self.site, hash, &mut key, &same, work);
        match &boarded {
            Ok(Boarded::Waits(waiting)) if waiting.stake() == Stake::Bystander => {
                self.wanted = key.map(|key| Wanted::Own(hash, key, same));
            }
            Ok(_) => self.work = None,
            // What went wrong is told; a destructor has nothing to add.
            Err(_) => quietly(|| {
                drop(key);
                self.work = None;
            }),
        }
        boarded
    }
}

/// What a call says that is polled once too often.
pub(crate) const READY: &str = "a future is not polled after it was ready";

/// As [`Start::board`], with a key that is owned, for nothing was found or it costs nothing. Takes the key when it is no
/// longer needed.
pub(crate) fn board_owned<R, K, S, V>(
    holder: &R,
    site: Site,
    hash: u64,
    key: &mut Option<K>,
    same: &S,
    work: &mut dyn Work<K, V, S>,
) -> Result<Boarded<R, V>, ReduceError>
where
    R: HoldsRows + Borrow<Reducer> + Clone,
    K: Send + Sync + 'static,
    S: Same<K>,
    V: Clone + Send + Sync + 'static,
{
    let reducer: &Reducer = holder.borrow();
    let admission = reducer.registry.admit(&reducer.options, hash, site, key, same, work);
    let joined = matches!(admission, Admission::Joined(_));
    let boarded = stake_in(admission, holder)?;
    if joined {
        *key = None;
    }
    Ok(boarded)
}

/// The stake that the registry has entered.
fn stake_in<R, V>(admission: Admission, holder: &R) -> Result<Boarded<R, V>, ReduceError>
where
    R: HoldsRows + Clone,
{
    let (flight, stake) = match admission {
        Admission::Led(flight) => return Ok(Boarded::Led(Led::new(flight, holder.clone()))),
        Admission::Joined(flight) => (flight, Stake::Follower),
        Admission::Ending(flight) => (flight, Stake::Bystander),
        Admission::Refused(error) => return Err(error),
        Admission::Absent => unreachable!("who would lead is not told `Absent`"),
    };
    Ok(Boarded::Waits(Waiting::new(flight, holder.clone(), stake)))
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
    W: Work<P::Owned, V, P::Same>,
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
            let led = match this.start.board(this.reducer)? {
                Boarded::Led(led) => led,
                Boarded::Waits(waiting) => {
                    this.waiting.set(Some(waiting));
                    continue;
                }
            };
            match led.poll() {
                Ok(outcome) => {
                    return Poll::Ready(outcome.map(|value| Reduced { value, role: Role::Led }));
                }
                Err(waiting) => {
                    this.waiting.set(Some(waiting));
                    this.waiting.as_mut().as_pin_mut().expect("just set").settle(cx);
                    return Poll::Pending;
                }
            }
        }
    }
}

/// The options that need a runtime have one, or say so.
#[cfg(all(feature = "tokio", not(loom)))]
#[inline]
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
