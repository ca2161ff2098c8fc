//! A call as a future: looks for its flight when it is first polled, and waits for it.

use std::borrow::Borrow;
use std::fmt;
use std::future::Future;
use std::hash::Hash;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::error::ReduceError;
use crate::flight::{
    Cargo, Hold, HoldsRows, Led, Open, Place, Ready, Site, Stake, Waiting, either, quietly,
};
use crate::key::{ByEq, Kept, Key, Owned, Same};
use crate::reducer::{Reduced, Reducer, Role};
use crate::registry::{Admission, Options};

/// What a leader brings. It alone knows the type of the work: all around it is compiled once for a key and a
/// value type, not once for every function.
pub(crate) trait Work<K, V, S> {
    /// The site of its flight, and of those that it may follow.
    fn site(&self) -> Site;

    /// The work, or a place for it. Not called twice.
    fn cargo(&mut self) -> Cargo<'_, K, V, S>;

    /// Builds the work if there is but a place for it, for `flight`, which was launched with our cargo.
    #[inline(always)]
    fn begin(&mut self, _flight: &Hold) {}
}

/// The work is there.
impl<K, S, F> Work<K, F::Output, S> for Ready<F>
where
    K: Send + Sync + 'static,
    S: Same<K>,
    F: Future<Output: Send + Sync + 'static> + Send + 'static,
{
    #[inline(always)]
    fn site(&self) -> Site {
        Site::of::<Open<F>>()
    }

    #[inline(always)]
    fn cargo(&mut self) -> Cargo<'_, K, F::Output, S> {
        Ready::cargo(self)
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
    #[inline(always)]
    fn site(&self) -> Site {
        Site::of::<Open<F>>()
    }

    #[inline(always)]
    fn cargo(&mut self) -> Cargo<'_, K, V, S> {
        Cargo::later::<F, Open<F>>()
    }

    #[inline(always)]
    fn begin(&mut self, flight: &Hold) {
        let build = self.0.take().expect("no flight is begun twice");
        flight.board(|room| Some(room.of().fill(build())));
    }
}

/// The work is a function's, applied to the key. It was wrapped, and that is its site.
pub(crate) struct Apply<W>(pub(crate) Arc<W>, pub(crate) Site);

impl<K, V, S, W, F> Work<K, V, S> for Apply<W>
where
    K: Clone + Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Same<K>,
    W: Fn(K) -> F,
    F: Future<Output = V> + Send + 'static,
{
    fn site(&self) -> Site {
        self.1
    }

    fn cargo(&mut self) -> Cargo<'_, K, V, S> {
        Cargo::later::<F, Open<W>>()
    }

    fn begin(&mut self, flight: &Hold) {
        let key = flight.key::<K>().expect("launched with this key");
        flight.board(|room| Some(room.of().fill((self.0)(key.clone()))));
    }
}

/// The key that a call looks for.
enum Wanted<P, K, S> {
    /// In the caller's form, not yet hashed.
    Asked(P),
    /// In the caller's form.
    Hashed(u32, P),
    /// Nothing was found for it; it is owned, and the call will lead if still there is nothing.
    Own(u32, Kept<K, S>),
}

/// Takes a stake in a flight: leads, follows, or stands by until one ends that is in the way. Only then, `wanted` is
/// there again.
#[inline(always)]
fn board<R, P, W, V>(
    holder: &R,
    wanted: &mut Option<Wanted<P, P::Owned, P::Same>>,
    work: &mut W,
) -> Result<Place<R, V>, ReduceError>
where
    R: HoldsRows + Borrow<Reducer> + Clone,
    P: Key,
    V: Clone + Send + Sync + 'static,
    W: Work<P::Owned, V, P::Same>,
{
    let Reducer { registry, options } = holder.borrow();
    let site = work.site();
    let (hash, key) = match wanted.take().expect("kept until there is a stake") {
        Wanted::Asked(key) => {
            check_runtime(options)?;
            (registry.hash_with(|hasher| key.hash(hasher)), Ok(key))
        }
        Wanted::Hashed(hash, key) => (hash, Ok(key)),
        Wanted::Own(hash, key) => (hash, Err(key)),
    };
    let key = match key {
        Ok(key) if P::is_quick() => {
            let mut key = Some(key);
            let boarded = board_quick(holder, site, hash, &mut key, || work.cargo());
            *wanted = key.map(|key| Wanted::Hashed(hash, key));
            return boarded;
        }
        Ok(key) => match registry.find::<V, P>(options, hash, site, &key) {
            Admission::Absent => Kept::of(key),
            Admission::Joined(flight) => {
                let place = Place::new(flight, holder.clone(), Stake::Follower);
                // Only now that the stake is ours to give up: it may panic when it is dropped.
                drop(key);
                return Ok(place);
            }
            admission => {
                *wanted = Some(Wanted::Hashed(hash, key));
                return stake_in(admission, holder);
            }
        },
        Err(key) => key,
    };
    let mut key = Some(key);
    let boarded = board_quick(holder, site, hash, &mut key, || work.cargo());
    *wanted = key.map(|key| Wanted::Own(hash, key));
    boarded
}

/// What a call says that is polled once too often.
pub(crate) const READY: &str = "a future is not polled after it was ready";

/// As [`board`], with a key that is quick. Takes it, unless what there is to wait for is an end.
#[inline(always)]
pub(crate) fn board_quick<'c, R, P, V>(
    holder: &R,
    site: Site,
    hash: u32,
    key: &mut Option<P>,
    cargo: impl FnOnce() -> Cargo<'c, P::Owned, V, P::Same>,
) -> Result<Place<R, V>, ReduceError>
where
    R: HoldsRows + Borrow<Reducer> + Clone,
    P: Key,
    V: Clone + Send + Sync + 'static,
{
    let Reducer { registry, options } = holder.borrow();
    let admission = registry.admit(options, hash, site, key, cargo);
    let joined = matches!(admission, Admission::Joined(_));
    let boarded = stake_in(admission, holder);
    if joined {
        // Only now that the stake is ours to give up: it may panic when it is dropped.
        *key = None;
    }
    if boarded.is_err() {
        // What went wrong is told; a destructor has nothing to add.
        let key = key.take();
        quietly(|| drop(key));
    }
    boarded
}

/// The stake that the registry has entered.
#[inline(always)]
fn stake_in<R, V>(admission: Admission, holder: &R) -> Result<Place<R, V>, ReduceError>
where
    R: HoldsRows + Clone,
{
    let (flight, stake) = match admission {
        Admission::Led(flight) => (flight, Stake::Leader),
        Admission::Joined(flight) => (flight, Stake::Follower),
        Admission::Ending(flight) => (flight, Stake::Bystander),
        Admission::Refused(error) => return Err(error),
        Admission::Absent => unreachable!("who would lead is not told `Absent`"),
    };
    Ok(Place::new(flight, holder.clone(), stake))
}

pin_project! {
    /// A call that gives what happened.
    //
    // The key's owned form `K`, its equality `S` and the value `V` follow from `P` and `W`. They are
    // parameters all the same: with projections in its fields the future would be `Send` only where
    // `P: Key` holds for *any* lifetime, and a `&'static str` as a key inside an `async` block would not
    // compile (rust-lang/rust#102211).
    #[project = TryCallProjection]
    #[project_replace = TryCallParts]
    pub(crate) enum TryCall<R, P, K, S, W, V>
    where
        R: HoldsRows,
    {
        // Not polled yet.
        Asked { reducer: R, key: Option<P>, work: W },
        Aboard {
            #[pin]
            waiting: Waiting<R, V>,
        },
        StandsBy { standing: Box<Standing<R, P, K, S, W, V>> },
        // Led, and that took no more than a poll; or there was nothing to be had.
        Done,
    }
}

/// What a call needs to begin once more, when a flight has ended that is in the way. Rare enough for boxes.
pub(crate) struct Standing<R: HoldsRows, P, K, S, W, V> {
    reducer: R,
    wanted: Option<Wanted<P, K, S>>,
    work: W,
    waiting: Pin<Box<Waiting<R, V>>>,
}

impl<R, P, W, V> TryCall<R, P, P::Owned, P::Same, W, V>
where
    R: HoldsRows,
    P: Key,
{
    #[inline(always)]
    pub(crate) fn new(reducer: R, key: P, work: W) -> Self {
        Self::Asked { reducer, key: Some(key), work }
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

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut failed = None;
        let value = ready!(self.as_mut().poll_value(cx, &mut failed));
        let outcome = either(value, &mut failed);
        Poll::Ready(outcome.map(|value| Reduced { value, role: self.role() }))
    }
}

impl<R, P, W, V> TryCall<R, P, P::Owned, P::Same, W, V>
where
    R: HoldsRows + Borrow<Reducer> + Clone,
    P: Key,
    V: Clone + Send + Sync + 'static,
    W: Work<P::Owned, V, P::Same>,
{
    /// What it was to its flight, when it has had the outcome.
    fn role(&self) -> Role {
        match self {
            Self::Aboard { waiting } if waiting.stake() != Stake::Leader => Role::Joined,
            _ => Role::Led,
        }
    }

    /// The value, or none and it has `failed`: apart, as in `flight`, on all the way to who awaits it.
    #[inline]
    fn poll_value(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        failed: &mut Option<ReduceError>,
    ) -> Poll<Option<V>> {
        if let TryCallProjection::Asked { reducer, key, work } = self.as_mut().project() {
            let mut wanted = Some(Wanted::Asked(key.take().expect(READY)));
            match board(reducer, &mut wanted, work) {
                // For most calls this is the only poll.
                Ok(mut place) if place.stake() == Stake::Leader => {
                    let led = place.lead(|flight| work.begin(flight));
                    return self.led(led, &mut place, cx, failed);
                }
                Ok(mut place) if place.stake() == Stake::Follower => {
                    self.set(Self::Aboard { waiting: Waiting::of(&mut place) });
                    if let TryCallProjection::Aboard { waiting } = self.as_mut().project() {
                        if waiting.get_in_line(cx) {
                            return Poll::Pending;
                        }
                    }
                }
                Ok(mut place) => self.as_mut().stand_by(&mut place, wanted),
                Err(error) => return self.fail(error, failed),
            }
        }
        self.poll_on(cx, failed)
    }

    /// Polled, and it has a stake.
    #[inline(always)]
    fn poll_on(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        failed: &mut Option<ReduceError>,
    ) -> Poll<Option<V>> {
        match self.as_mut().project() {
            TryCallProjection::Aboard { waiting } => waiting.poll(cx, failed),
            TryCallProjection::StandsBy { .. } => self.poll_standing(cx, failed),
            TryCallProjection::Asked { .. } | TryCallProjection::Done => panic!("{READY}"),
        }
    }

    /// Polled, and it stands by.
    #[cold]
    fn poll_standing(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        failed: &mut Option<ReduceError>,
    ) -> Poll<Option<V>> {
        while let TryCallProjection::StandsBy { standing } = self.as_mut().project() {
            let Standing { reducer, wanted, work, waiting } = &mut **standing;
            ready!(waiting.as_mut().poll_ended(cx));
            match board(reducer, wanted, work) {
                Ok(mut place) if place.stake() == Stake::Leader => {
                    let led = place.lead(|flight| work.begin(flight));
                    return self.led(led, &mut place, cx, failed);
                }
                Ok(mut place) if wanted.is_some() => waiting.set(Waiting::of(&mut place)),
                Ok(mut place) => self.set(Self::Aboard { waiting: Waiting::of(&mut place) }),
                Err(error) => return self.fail(error, failed),
            }
        }
        self.poll_on(cx, failed)
    }

    /// A leader has been polled for the first time.
    #[inline(always)]
    fn led(
        mut self: Pin<&mut Self>,
        led: Led<V>,
        place: &mut Place<R, V>,
        cx: &mut Context<'_>,
        failed: &mut Option<ReduceError>,
    ) -> Poll<Option<V>> {
        match led {
            Led::Value(value) => {
                self.set(Self::Done);
                Poll::Ready(Some(value))
            }
            Led::Over => {
                let value = place.came_to(failed);
                self.set(Self::Done);
                Poll::Ready(value)
            }
            Led::Flying => {
                self.set(Self::Aboard { waiting: Waiting::of(place) });
                if let TryCallProjection::Aboard { waiting } = self.project() {
                    waiting.settle(cx);
                }
                Poll::Pending
            }
        }
    }

    #[cold]
    fn stand_by(
        mut self: Pin<&mut Self>,
        place: &mut Place<R, V>,
        wanted: Option<Wanted<P, P::Owned, P::Same>>,
    ) {
        if let TryCallParts::Asked { reducer, work, .. } = self.as_mut().project_replace(Self::Done)
        {
            let waiting = Box::pin(Waiting::of(place));
            let standing = Box::new(Standing { reducer, wanted, work, waiting });
            self.set(Self::StandsBy { standing });
        }
    }

    #[cold]
    fn fail(
        mut self: Pin<&mut Self>,
        error: ReduceError,
        failed: &mut Option<ReduceError>,
    ) -> Poll<Option<V>> {
        // What went wrong is told; a destructor has nothing to add.
        quietly(|| self.set(Self::Done));
        *failed = Some(error);
        Poll::Ready(None)
    }
}

/// The options that need a runtime have one, or say so.
#[cfg(all(feature = "tokio", not(loom)))]
#[inline]
pub(crate) fn check_runtime(options: &Options) -> Result<(), ReduceError> {
    let option = match options.timeout() {
        Some(_) => "timeout",
        None if options.detached => "detached",
        None => return Ok(()),
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

impl<R, P, W, V> Future for Call<TryCall<R, P, P::Owned, P::Same, W, V>>
where
    R: HoldsRows + Borrow<Reducer> + Clone,
    P: Key,
    V: Clone + Send + Sync + 'static,
    W: Work<P::Owned, V, P::Same>,
{
    type Output = V;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<V> {
        let mut failed = None;
        let value = ready!(self.project().call.poll_value(cx, &mut failed));
        Poll::Ready(either(value, &mut failed).unwrap_or_else(|error| error.raise()))
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
        Self { call: Call(TryCall::new(reducer, Owned(arg), Apply(f, site))) }
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
