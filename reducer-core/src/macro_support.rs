//! What generated code names, and nobody else: no promise is made of it from version to version.

use std::fmt;
use std::future::{Future, poll_fn};
use std::marker::PhantomData;
use std::ops::Deref;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
#[cfg(feature = "tokio")]
use std::time::Duration;

pub use ::std;

mod awaited;

pub use awaited::{Fallible, Flight, fallible, no_flight};

#[cfg(all(feature = "tokio", not(loom)))]
pub use crate::batch::{
    AggregateError, Aggregated, Answers, SlotsOutcome, Terms, answered, slotted, terms,
};
use crate::blocking::{follow_found, lead_or_follow};
use crate::call::{board_quick, check_runtime};
use crate::flight::{
    self, Cargo, Full, Function, Hold, Led, Loan, Place, Room, Stake, Waiting, either, quietly,
};
pub use crate::key::parts::{
    ByPtr, Fail, Output, capture, capture_option, no_part, probe, self_part, static_part,
};
use crate::key::{Kept, Key, Same};
pub use crate::reducer::Reducer;
use crate::registry::Admission;

/// The function, and the instantiation of it, that a call is of.
#[derive(Clone, Copy, Debug)]
pub struct Site(flight::Site);

/// `marker` is a closure that captures nothing, made in the function: its type knows every generic around.
#[must_use]
pub fn site<C: 'static>(_marker: &C) -> Site {
    Site(flight::Site::of::<Function<C>>())
}

/// The reducer of functions that name none.
#[must_use]
pub fn global() -> &'static Reducer {
    Reducer::global()
}

#[inline(always)]
fn hash<P: Key>(reducer: &Reducer, key: &P) -> u32 {
    reducer.registry.hash_with(|hasher| key.hash(hasher))
}

/// Says a type, and is never called.
#[must_use]
pub fn never<T>() -> T {
    unreachable!("it stands under `if false`")
}

/// Looks for the flight of `key`, and joins it: then `flight` is its. Or there is a `miss`: none to follow, the key is owned
/// by now, and the arguments are free to be moved.
pub fn lookup<'r, V, P>(
    miss: &mut Option<Miss<'r, V, P::Owned, P::Same>>,
    mut flight: Pin<&mut Flight<'r, V>>,
    reducer: &'r Reducer,
    site: Site,
    key: P,
) where
    V: Output,
    P: Key,
{
    if let Err(error) = check_runtime(&reducer.options) {
        return flight.set(Flight::failed(error));
    }
    let hash = hash(reducer, &key);
    match reducer.registry.find::<V, P>(&reducer.options, hash, site.0, &key) {
        Admission::Joined(joined) => {
            let mut place = Place::new(joined, reducer, Stake::Follower);
            // May panic; the stake is ours to give up by now, and not yet on its way out.
            drop(key);
            flight.set(Flight::aboard(&mut place));
        }
        Admission::Refused(error) => flight.set(Flight::failed(error)),
        // Whether a flight is ending is asked again by `start`.
        Admission::Absent | Admission::Ending(_) | Admission::Led(_) => {
            *miss = Some(Miss::new(reducer, site, hash, Kept::of(key)));
        }
    }
}

/// As [`lookup`]. If the key is but numbers, and nobody minds when what else was moved is dropped, there is nothing to be
/// spared: whether the call follows or leads is seen by `start`, with one look at the table.
#[inline]
pub fn lookup_if_dear<'r, V, P>(
    miss: &mut Option<Miss<'r, V, P::Owned, P::Same>>,
    mut flight: Pin<&mut Flight<'r, V>>,
    reducer: &'r Reducer,
    site: Site,
    key: P,
    minds: bool,
) where
    V: Output,
    P: Key,
{
    if minds || !P::is_free() {
        return lookup(miss, flight, reducer, site, key);
    }
    if let Err(error) = check_runtime(&reducer.options) {
        return flight.set(Flight::failed(error));
    }
    let hash = hash(reducer, &key);
    *miss = Some(Miss::new(reducer, site, hash, Kept::of(key)));
}

/// Whether dropping an argument does anything. Told its type by a move that never happens: a borrow would keep a second
/// place for the argument in the caller's future.
#[derive(Debug)]
pub struct Minds<T>(PhantomData<fn(T)>);

impl<T> Minds<T> {
    /// Of some type.
    #[allow(clippy::new_without_default, reason = "generated code says what it means")]
    #[must_use]
    pub fn new() -> Self {
        Self(PhantomData)
    }

    /// Of this one. Never called.
    pub fn is_of(&self, _: T) {}

    /// See above.
    #[inline(always)]
    #[must_use]
    pub fn get(&self) -> bool {
        std::mem::needs_drop::<T>()
    }
}

/// An argument that can be copied by the name of its type.
#[diagnostic::on_unimplemented(
    message = "`{Self}` has the name of a number, and cannot be copied as one: write a path to it, as `self::Name`, or rename it"
)]
pub trait Plain: Copy {}

#[diagnostic::do_not_recommend]
impl<T: Copy> Plain for T {}

/// In another place, for a shorter time.
#[inline(always)]
pub fn copied<T: Plain>(argument: T) -> T {
    argument
}

/// A key with no flight to follow, a moment ago, or one that nobody has looked for. It stays where the look-up has put it.
pub struct Miss<'r, V, K, S> {
    reducer: &'r Reducer,
    site: Site,
    hash: u32,
    // `None` once another has it.
    key: Option<Kept<K, S>>,
    value: PhantomData<fn() -> V>,
}

impl<'r, V, K, S> Miss<'r, V, K, S> {
    #[inline(always)]
    fn new(reducer: &'r Reducer, site: Site, hash: u32, key: Kept<K, S>) -> Self {
        Self { reducer, site, hash, key: Some(key), value: PhantomData }
    }
}

impl<V, K, S> fmt::Debug for Miss<'_, V, K, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Miss").field("site", &self.site).finish_non_exhaustive()
    }
}

/// What came of the first poll of a call that was to lead.
pub enum Started<'f, 'r, V> {
    /// The flight has landed with this.
    Landed(V),
    /// It is in the air, or another is; or there is to be no value.
    Flying(Pin<&'f mut Flight<'r, V>>),
}

impl<'f, 'r, V> Started<'f, 'r, V> {
    /// What came of `start`: the value, which then is in no memory on its way out, or what it has put in `flight`.
    #[inline(always)]
    fn by(
        mut flight: Pin<&'f mut Flight<'r, V>>,
        start: impl FnOnce(Pin<&mut Flight<'r, V>>) -> Option<V>,
    ) -> Self {
        start(flight.as_mut()).map_or(Self::Flying(flight), Self::Landed)
    }
}

impl<V> fmt::Debug for Started<'_, '_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Landed(_) => "Landed",
            Self::Flying(_) => "Flying",
        })
    }
}

/// Leads with `work`, which is polled for the first time, unless somebody has come to lead meanwhile: then `work` is
/// dropped. A flight that comes of it is to be awaited at once.
#[inline]
pub fn start<'f, 'r, V, K, S, F, C>(
    miss: &mut Miss<'r, V, K, S>,
    flight: Pin<&'f mut Flight<'r, V>>,
    _marker: &C,
    work: F,
) -> Started<'f, 'r, V>
where
    V: Output,
    K: Send + Sync + 'static,
    S: Same<K> + Send + Sync + 'static,
    F: Future<Output = V> + Send + 'static,
    C: 'static,
{
    Started::by(flight, |flight| {
        Cargo::send::<F, Function<C>, _, _>(work, start_any, (miss, flight))
    })
}

/// The key of a flight, for its own work.
pub struct FlightKey<K> {
    flight: Lender,
    key: PhantomData<fn() -> K>,
}

/// Which flight that is.
enum Lender {
    Flight(Loan),
    /// The one that work which waits is begun in. A hold like any other, which goes with the work.
    Later(Arc<OnceLock<Hold>>),
}

/// The flight that work is built for, or is to be told.
enum BuiltFor<'a> {
    Flight(&'a Hold),
    Later(&'a Arc<OnceLock<Hold>>),
}

impl BuiltFor<'_> {
    fn key<K>(self) -> FlightKey<K> {
        let flight = match self {
            Self::Flight(flight) => Lender::Flight(flight.lend()),
            Self::Later(flight) => Lender::Later(Arc::clone(flight)),
        };
        FlightKey { flight, key: PhantomData }
    }
}

impl<K: 'static> Deref for FlightKey<K> {
    type Target = K;

    fn deref(&self) -> &K {
        let key = match &self.flight {
            Lender::Flight(loan) => loan.key(),
            Lender::Later(flight) => flight.get().expect("set before the work is polled").key(),
        };
        key.expect("launched with this key")
    }
}

impl<K> fmt::Debug for FlightKey<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FlightKey").finish_non_exhaustive()
    }
}

/// As [`start`], with work that takes copies of what was borrowed, or borrows from the flight's key, and so is built by who leads.
#[inline]
pub fn start_lent<'f, 'r, V, K, S, F, B, C>(
    miss: &mut Miss<'r, V, K, S>,
    flight: Pin<&'f mut Flight<'r, V>>,
    _marker: &C,
    build: B,
) -> Started<'f, 'r, V>
where
    V: Output,
    K: Send + Sync + 'static,
    S: Same<K> + Send + Sync + 'static,
    F: Future<Output = V> + Send + 'static,
    B: FnOnce(FlightKey<K>) -> F,
    C: 'static,
{
    let mut build = Some(build);
    let build: &mut Builder<'_> = &mut |room, flight| {
        let (build, room, flight) = (build.take()?, room?.of(), flight?);
        Some(room.fill(build(flight.key())))
    };
    let room = Cargo::later::<F, Function<C>>;
    Started::by(flight, |flight| start_building(miss, room, build, flight))
}

/// Leads with such work, or follows. Of a function whose arguments are all borrowed, or numbers: none needs to be out of the
/// way before it is known who leads.
#[inline]
pub fn call_lent<'f, 'r, V, P, F, B, C>(
    flight: Pin<&'f mut Flight<'r, V>>,
    reducer: &'r Reducer,
    marker: &C,
    key: P,
    build: B,
) -> Started<'f, 'r, V>
where
    V: Output,
    P: Key,
    P::Same: Send + Sync,
    F: Future<Output = V> + Send + 'static,
    B: FnOnce(FlightKey<P::Owned>) -> F,
    C: 'static,
{
    let (mut key, mut build) = (Some(key), Some(build));
    let build: &mut Builder<'_> = &mut |room, flight| {
        let (build, room, flight) = (build.take()?, room?.of(), flight?);
        Some(room.fill(build(flight.key())))
    };
    let room = Cargo::later::<F, Function<C>>;
    let (site, key) = (site(marker), &mut key);
    Started::by(flight, |flight| call_building(reducer, site, key, room, build, flight))
}

// What follows does not know the type of the work: there is one for every function in a program, and
// each line that knows it is compiled for each.

/// See [`call_lent`]. The key is there, and stays where it was made: it is several words.
fn call_building<'r, V, P>(
    reducer: &'r Reducer,
    site: Site,
    key: &mut Option<P>,
    room: fn() -> Cargo<'static, P::Owned, V, P::Same>,
    build: &mut Builder<'_>,
    mut flight: Pin<&mut Flight<'r, V>>,
) -> Option<V>
where
    V: Output,
    P: Key,
    P::Same: Send + Sync,
{
    if P::is_quick() {
        if let Err(error) = check_runtime(&reducer.options) {
            flight.set(Flight::failed(error));
            return None;
        }
        let hash = hash(reducer, key.as_ref().expect("made for this call"));
        return start_in_room(reducer, site, hash, key, room, build, flight);
    }
    let (mut miss, key) = (None, key.take().expect("made for this call"));
    lookup(&mut miss, flight.as_mut(), reducer, site, key);
    match &mut miss {
        Some(miss) => start_building(miss, room, build, flight),
        None => {
            build(None, None);
            None
        }
    }
}

fn start_building<'r, V, K, S>(
    miss: &mut Miss<'r, V, K, S>,
    room: fn() -> Cargo<'static, K, V, S>,
    build: &mut Builder<'_>,
    flight: Pin<&mut Flight<'r, V>>,
) -> Option<V>
where
    V: Output,
    K: Send + Sync + 'static,
    S: Same<K> + Send + Sync + 'static,
{
    let Miss { reducer, site, hash, ref mut key, .. } = *miss;
    start_in_room(reducer, site, hash, key, room, build, flight)
}

/// Builds the work, once, where it is to lie; or drops what it would build it of.
type Builder<'b> =
    dyn for<'r> FnMut(Option<Room<'r>>, Option<BuiltFor<'_>>) -> Option<Full<'r>> + 'b;

#[inline(always)]
fn start_in_room<'r, V, P>(
    reducer: &'r Reducer,
    site: Site,
    hash: u32,
    key: &mut Option<P>,
    room: fn() -> Cargo<'static, P::Owned, V, P::Same>,
    build: &mut Builder<'_>,
    flight: Pin<&mut Flight<'r, V>>,
) -> Option<V>
where
    V: Output,
    P: Key,
    P::Same: Send + Sync,
{
    let begin = |unbuilt: &mut Unbuilt<'_, '_>, flight: &Hold| {
        flight.board(|room| unbuilt.build(room, BuiltFor::Flight(flight)));
    };
    let apart = |mut unbuilt: Unbuilt<'_, '_>| {
        let flight = Arc::new(OnceLock::new());
        let work = room().built(|room| unbuilt.build(room, BuiltFor::Later(&flight)));
        (work, Some(flight))
    };
    start_with(reducer, site, hash, key, Unbuilt(Some(build)), |_| room(), begin, apart, flight)
}

/// Work that is to be built. What it would be built of goes with it, before a value is written to where it is returned: a
/// panic after that would forget it.
struct Unbuilt<'a, 'b>(Option<&'a mut Builder<'b>>);

impl Unbuilt<'_, '_> {
    #[inline(always)]
    fn build<'r>(&mut self, room: Room<'r>, flight: BuiltFor<'_>) -> Option<Full<'r>> {
        self.0.take()?(Some(room), Some(flight))
    }
}

impl Drop for Unbuilt<'_, '_> {
    #[inline(always)]
    fn drop(&mut self) {
        if let Some(build) = self.0.take() {
            build(None, None);
        }
    }
}

fn start_any<'r, V, K, S>(
    (miss, flight): (&mut Miss<'r, V, K, S>, Pin<&mut Flight<'r, V>>),
    work: Cargo<'_, K, V, S>,
) -> Option<V>
where
    V: Output,
    K: Send + Sync + 'static,
    S: Same<K> + Send + Sync + 'static,
{
    let Miss { reducer, site, hash, ref mut key, .. } = *miss;
    start_with(
        reducer,
        site,
        hash,
        key,
        work,
        Cargo::take,
        |_, _| (),
        |work| (work.into_box(), None),
        flight,
    )
}

/// Leads with `work`, which is, or makes, a cargo, and begins; or follows. Or waits for its turn with the work `apart`, and
/// with who asks which flight that will be. The key is quick.
#[inline(always)]
#[allow(
    clippy::too_many_arguments,
    reason = "a miss, with its key in any form; and a work, in any"
)]
fn start_with<'r, 'c, V, P, W>(
    reducer: &'r Reducer,
    site: Site,
    hash: u32,
    key: &mut Option<P>,
    mut work: W,
    cargo: impl FnOnce(&mut W) -> Cargo<'c, P::Owned, V, P::Same>,
    begin: impl FnOnce(&mut W, &Hold),
    apart: impl FnOnce(W) -> (Cargo<'static, P::Owned, V, P::Same>, Option<Arc<OnceLock<Hold>>>),
    mut flight: Pin<&mut Flight<'r, V>>,
) -> Option<V>
where
    V: Output,
    P: Key,
    P::Same: Send + Sync,
{
    let boarded = board_quick(&reducer, site.0, hash, key, || cargo(&mut work));
    // One `match` would say it all, and move the place once more: 15 % of a call.
    let mut place = match boarded {
        Ok(mut place) if place.stake() == Stake::Leader => {
            flight.set(match place.lead(|flight| begin(&mut work, flight)) {
                Led::Value(value) => return Some(value),
                Led::Over => {
                    // It may not have begun, and what went wrong is told; a destructor has nothing to add.
                    quietly(|| drop(work));
                    let mut failed = None;
                    match (place.came_to(&mut failed), failed) {
                        (None, Some(error)) => Flight::failed(error),
                        (value, _) => return value,
                    }
                }
                Led::Flying => Flight::aboard(&mut place),
            });
            return None;
        }
        Ok(place) => place,
        Err(error) => {
            // What went wrong is told; a destructor has nothing to add.
            quietly(|| drop(work));
            flight.set(Flight::failed(error));
            return None;
        }
    };
    flight.set(match key.take() {
        // The flight before ours is just being dropped, on another thread. Rare enough for some boxes.
        Some(key) => {
            let (work, asks) = apart(work);
            start_later(Miss::new(reducer, site, hash, Kept::of(key)), place, work, asks)
        }
        None => {
            // While the stake is still ours to give up: destructors may panic.
            drop(work);
            Flight::aboard(&mut place)
        }
    });
    None
}

/// Leads with `work` when the flight in the way is gone. The work is told its own, if it asks.
fn start_later<'r, V, K, S>(
    miss: Miss<'r, V, K, S>,
    mut place: Place<&'r Reducer, V>,
    mut work: Cargo<'static, K, V, S>,
    asks: Option<Arc<OnceLock<Hold>>>,
) -> Flight<'r, V>
where
    V: Output,
    K: Send + Sync + 'static,
    S: Same<K> + Send + Sync + 'static,
{
    let Miss { reducer, site, hash, mut key, .. } = miss;
    Flight::later(async move {
        let flight = loop {
            if place.stake() == Stake::Follower {
                break Flight::aboard(&mut place);
            }
            let mut ending = pin!(Waiting::of(&mut place));
            poll_fn(|cx| ending.as_mut().poll_ended(cx)).await;
            match board_quick(&reducer, site.0, hash, &mut key, || work.take()) {
                Ok(mut next) if next.stake() == Stake::Leader => {
                    let led = next.lead(|flight| {
                        if let Some(asks) = asks {
                            let _ = asks.set(flight.clone());
                        }
                    });
                    match led {
                        Led::Value(value) => return Ok(value),
                        Led::Over => {
                            let mut failed = None;
                            let value = next.came_to(&mut failed);
                            return either(value, &mut failed);
                        }
                        Led::Flying => break Flight::aboard(&mut next),
                    }
                }
                Ok(next) => place = next,
                Err(error) => {
                    quietly(|| drop(work));
                    return Err(error);
                }
            }
        };
        drop(work);
        let (mut flight, mut failed) = (pin!(flight), None);
        let value = poll_fn(|cx| flight.as_mut().poll_value(cx, &mut failed)).await;
        either(value, &mut failed)
    })
}

/// What `meter = ..` is, or dereferences to.
#[cfg(all(feature = "tokio", not(loom)))]
#[must_use]
pub fn meter(meter: &crate::Meter) -> crate::Meter {
    meter.clone()
}

/// The same table, on a function's own terms. What is `None` stays as the reducer has it.
#[cfg(feature = "tokio")]
#[must_use]
pub fn on_terms(reducer: &Reducer, timeout: Option<Duration>, detached: Option<bool>) -> Reducer {
    let mut reducer = reducer.clone();
    if let Some(timeout) = timeout {
        reducer.options.set_timeout(timeout);
    }
    reducer.options.detached = detached.unwrap_or(reducer.options.detached);
    reducer
}

/// What there was in flight, for a thread.
#[derive(Debug)]
pub enum LookupBlocking<'r, V, K, S> {
    /// Nobody has looked yet.
    Unasked,
    /// Such a flight; this is its value.
    Hit(V),
    /// None; the key is owned by now.
    Miss(MissBlocking<'r, V, K, S>),
}

/// Looks for the flight of `key`, and waits for it. What was found is put where it is to stay.
pub fn lookup_blocking<'r, V, P>(
    found: &mut LookupBlocking<'r, V, P::Owned, P::Same>,
    reducer: &'r Reducer,
    site: Site,
    key: P,
) where
    V: Output,
    P: Key,
{
    let hash = hash(reducer, &key);
    *found = match follow_found(reducer, hash, site.0, &key) {
        Some(outcome) => LookupBlocking::Hit(outcome.unwrap_or_else(|error| error.raise())),
        None => {
            let miss = Miss::new(reducer, site, hash, Kept::of(key));
            LookupBlocking::Miss(MissBlocking(miss))
        }
    };
}

/// A key with no flight, a moment ago.
#[derive(Debug)]
pub struct MissBlocking<'r, V, K, S>(Miss<'r, V, K, S>);

/// Leads by running `work` here, unless somebody has come to lead meanwhile.
pub fn run<V, K, S, W, C>(miss: &mut MissBlocking<'_, V, K, S>, _marker: &C, work: W) -> V
where
    V: Output,
    K: Send + Sync + 'static,
    S: Same<K>,
    W: FnOnce() -> V,
    C: 'static,
{
    let Miss { reducer, site, hash, ref mut key, .. } = miss.0;
    let key = key.take().expect("nobody has had it");
    match lead_or_follow::<_, _, Function<C>>(reducer, hash, site.0, key, |_| work()) {
        Ok(reduced) => reduced.value,
        Err(error) => error.raise(),
    }
}
