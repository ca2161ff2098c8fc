//! Key to flight: the one table that all calls of a reducer look into.
//!
//! A row is a flight, whatever its types, by its hash (`table.rs`). Under a shard's lock rows are compared by
//! hash, site and types alone; whether the keys are *equal* is asked with no lock held, of a flight held by
//! a hold of its own, for `Eq` is user code like any other. A key is inserted under the same lock under which no
//! row was found that could be its equal.
//!
//! Lock order: a shard, or a flight that others may have; never one inside the other.

use std::collections::HashSet;
use std::fmt;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use ahash::RandomState;

use crate::error::{Overloaded, ReduceError};
use crate::flight::{
    Cargo, FlightSpan, Hold, InFlight, Join, Kind, Row, Rows, Shut, Site, Table, Tail, quietly,
    waits_on_us, within,
};
use crate::hooks::{AllHooks, Call, End};
use crate::key::{Key, KeyHasher};
use crate::reducer::Role;

/// What a reducer was built with. In few bytes: every handle has its own.
#[derive(Clone, Copy)]
pub(crate) struct Options {
    /// In nanoseconds; the most there can be is none.
    timeout: u64,
    /// The most there can be is none.
    max_followers: u32,
    pub(crate) detached: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { timeout: u64::MAX, max_followers: u32::MAX, detached: false }
    }
}

impl Options {
    #[inline(always)]
    pub(crate) fn timeout(&self) -> Option<Duration> {
        (self.timeout != u64::MAX).then(|| Duration::from_nanos(self.timeout))
    }

    /// A time of centuries is none.
    #[cfg(feature = "tokio")]
    pub(crate) fn set_timeout(&mut self, timeout: Duration) {
        self.timeout = u64::try_from(timeout.as_nanos()).unwrap_or(u64::MAX);
    }

    /// `usize::MAX` if there is no limit.
    #[inline(always)]
    pub(crate) fn max_followers(&self) -> usize {
        if self.max_followers == u32::MAX { usize::MAX } else { self.max_followers as usize }
    }

    /// Of billions there is none.
    pub(crate) fn set_max_followers(&mut self, limit: usize) {
        self.max_followers = u32::try_from(limit).unwrap_or(u32::MAX);
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let max_followers = Some(self.max_followers).filter(|limit| *limit != u32::MAX);
        f.debug_struct("Options")
            .field("timeout", &self.timeout())
            .field("max_followers", &max_followers)
            .field("detached", &self.detached)
            .finish()
    }
}

/// See the module.
#[derive(Clone)]
pub(crate) struct Registry(Arc<Rows>);

/// What a call is looking for, all but its key.
#[derive(Clone, Copy)]
struct Sought {
    hash: u32,
    site: Site,
    kind: Kind,
}

impl Sought {
    /// Whether a flight with this hash may be it.
    #[inline(always)]
    fn is_alike(&self, flight: &Hold) -> bool {
        flight.core().site() == self.site && flight.kind() == self.kind
    }

    /// Some flight that may be it.
    #[inline(always)]
    fn find(&self, rows: &mut Table) -> Option<Hold> {
        rows.find(self.hash, |flight| self.is_alike(flight)).cloned()
    }
}

/// What came of a look at the table.
pub(crate) enum Admission {
    /// There was no such flight; now there is, and the call leads it.
    Led(Hold),
    /// There was one, and the call is counted among its followers.
    Joined(Hold),
    /// There was one, whose last caller has left. Wait for its end, then look again.
    Ending(Hold),
    /// There was one, and it takes no more followers.
    Refused(ReduceError),
    /// There is none, and none was made.
    Absent,
}

/// A call on its way to a flight.
trait Seeker {
    fn is_same(&self, flight: &Hold) -> bool;
    /// The flight to enter if there is none. Called under a lock: runs no user code.
    fn launch(&mut self, sought: Sought, tail: Option<Tail>) -> Option<(Hold, Row)>;
}

/// Looks, and leaves the table as it is.
struct Finding<'k, P>(&'k P);

impl<P: Key> Seeker for Finding<'_, P> {
    fn is_same(&self, flight: &Hold) -> bool {
        flight.key().is_some_and(|key| self.0.eq(key))
    }

    fn launch(&mut self, _: Sought, _: Option<Tail>) -> Option<(Hold, Row)> {
        None
    }
}

/// Leads if there is nobody to follow. Its key is quick.
struct Leading<'a, P, C> {
    key: &'a mut Option<P>,
    cargo: Option<C>,
}

impl<'c, P, V, C> Seeker for Leading<'_, P, C>
where
    C: FnOnce() -> Cargo<'c, P::Owned, V, P::Same>,
    P: Key,
    V: Send + Sync + 'static,
{
    fn is_same(&self, flight: &Hold) -> bool {
        match (flight.key(), &self.key) {
            (Some(key), Some(mine)) => mine.eq(key),
            _ => false,
        }
    }

    fn launch(
        &mut self,
        Sought { hash, site, .. }: Sought,
        tail: Option<Tail>,
    ) -> Option<(Hold, Row)> {
        let cargo = self.cargo.take()?;
        let (key, _) = self.key.take()?.into_owned();
        Some(cargo().launch(hash, site.wrap(), tail, key))
    }
}

/// The flights that a call has looked at, or is about to. They may land meanwhile, and be ours to drop.
/// Hardly any call has one: it takes a full hash that collides, or a flight that ends at this moment.
#[derive(Default)]
struct Passed {
    /// With our hash, and yet to be asked for their keys.
    queue: Vec<Hold>,
    /// Those that are not for us: another key, or over. Kept, so that their addresses stay theirs.
    strangers: Vec<Hold>,
    seen: HashSet<*const (), RandomState>,
    /// The one with our key that is over; we may take its row.
    dead: Option<Hold>,
}

impl Passed {
    fn pass(&mut self, flight: Hold) {
        self.seen.insert(flight.address());
        self.strangers.push(flight);
    }

    /// A flight that may be the one, and has not been looked at yet.
    fn next(&mut self, rows: &mut Table, sought: Sought) -> Option<Hold> {
        let alike = rows.with_hash(sought.hash).filter(|flight| sought.is_alike(flight));
        let mut alike = alike.filter(|flight| !self.seen.contains(&flight.address()));
        let first = alike.next().cloned();
        // Once keys collide, all that do are taken in one go: the cost of a call grows with their number, not
        // with its square.
        self.queue.extend(alike.cloned());
        first
    }
}

impl Drop for Passed {
    fn drop(&mut self) {
        for flight in self.queue.drain(..).chain(self.strangers.drain(..)).chain(self.dead.take()) {
            drop(flight);
        }
    }
}

#[cold]
fn tell_placed(hooks: &AllHooks, flight: &Hold, site: Site, role: Role) {
    // What a leader's hook calls is called from inside: it would wait for its own end.
    let inside = role == Role::Led && !hooks.is_harmless();
    let tell = || {
        let of = &InFlight { site, flight };
        hooks.placed(&Call { of, role, end: End::NotYet });
    };
    if inside { within(flight, tell) } else { tell() }
}

impl Registry {
    pub(crate) fn new(hooks: AllHooks) -> Self {
        Self(Rows::new(hooks))
    }

    #[inline(always)]
    pub(crate) fn rows(&self) -> &Rows {
        &self.0
    }

    #[inline(always)]
    pub(crate) fn hash_with(&self, feed: impl FnOnce(&mut KeyHasher)) -> u32 {
        self.0.hash_with(feed)
    }

    /// Of a flight that starts now.
    #[inline(always)]
    fn tail(&self, options: &Options, hash: u32) -> Option<Tail> {
        Tail::of(self.0.log(hash), options.timeout().is_some())
    }

    /// Joins the flight of `key`, if there is one.
    pub(crate) fn find<V: 'static, P: Key>(
        &self,
        options: &Options,
        hash: u32,
        site: Site,
        key: &P,
    ) -> Admission {
        let sought = Sought { hash, site, kind: Kind::of::<P::Owned, V>() };
        // The shard is free again before anybody is asked.
        let alike = sought.find(&mut self.0.shut(hash));
        let Some(flight) = alike else { return Admission::Absent };
        let mut seeker = Finding(key);
        match self.join_if_same(options, site, &flight, &seeker) {
            Some(Join::Joined) => Admission::Joined(flight),
            found => self.seek(options, sought, flight, found, &mut seeker),
        }
    }

    /// Joins the flight of `key`, or takes the key, which is quick, and leads one with `cargo`, which is called under a lock.
    #[inline(always)]
    pub(crate) fn admit<'c, P, V>(
        &self,
        options: &Options,
        hash: u32,
        site: Site,
        key: &mut Option<P>,
        cargo: impl FnOnce() -> Cargo<'c, P::Owned, V, P::Same>,
    ) -> Admission
    where
        P: Key,
        V: Clone + Send + Sync + 'static,
    {
        debug_assert!(P::is_quick(), "it is owned under a lock");
        let sought = Sought { hash, site, kind: Kind::of::<P::Owned, V>() };
        let mut rows = self.0.shut(hash);
        if let Some(flight) = sought.find(&mut rows) {
            drop(rows);
            let mut seeker = Leading { key, cargo: Some(cargo) };
            return match self.join_if_same(options, site, &flight, &seeker) {
                Some(Join::Joined) => Admission::Joined(flight),
                found => self.seek(options, sought, flight, found, &mut seeker),
            };
        }
        let (key, _) = key.take().expect("kept until there is a stake").into_owned();
        let launched = cargo().launch(hash, site.wrap(), self.tail(options, hash), key);
        self.enter(options, rows, launched, site)
    }

    /// One more follower, if this is the flight that is looked for.
    #[inline(always)]
    fn join_if_same<T: Seeker>(
        &self,
        options: &Options,
        site: Site,
        flight: &Hold,
        seeker: &T,
    ) -> Option<Join> {
        if !seeker.is_same(flight) {
            return None;
        }
        let join = flight.join(options.max_followers());
        if let Join::Joined = join {
            self.placed(flight, site, Role::Joined);
        }
        Some(join)
    }

    /// `flight` was alike when it was looked at, and this is what it was `found` to be: the one, or not. If not, which is?
    #[cold]
    fn seek<T: Seeker>(
        &self,
        options: &Options,
        sought: Sought,
        mut flight: Hold,
        mut found: Option<Join>,
        seeker: &mut T,
    ) -> Admission {
        let Sought { hash, site, .. } = sought;
        let mut passed = None::<Box<Passed>>;
        loop {
            match found {
                None => {}
                Some(Join::Joined) => return Admission::Joined(flight),
                Some(Join::Full) => return self.refuse(options, site, &flight),
                // A destructor of the work may call for its own key, and would wait for its own end.
                Some(Join::Ending) if !waits_on_us(&flight) => return Admission::Ending(flight),
                Some(Join::Ending | Join::Over) => {
                    passed.get_or_insert_default().dead = Some(flight.clone());
                }
            }
            let passed = passed.get_or_insert_default();
            passed.pass(flight);
            flight = if let Some(queued) = passed.queue.pop() {
                queued
            } else {
                let mut rows = self.0.shut(hash);
                if let Some(next) = passed.next(&mut rows, sought) {
                    next
                } else {
                    let launched = seeker.launch(sought, self.tail(options, hash));
                    let Some(launched) = launched else { return Admission::Absent };
                    // In the place of the one that is over, if that still has its.
                    let old = passed.dead.as_ref().and_then(|dead| rows.remove(dead));
                    let admission = self.enter(options, rows, launched, site);
                    quietly(|| drop(old));
                    return admission;
                }
            };
            found = self.join_if_same(options, site, &flight, seeker);
        }
    }

    /// Gives a flight that has just been made its row.
    #[inline(always)]
    fn enter(
        &self,
        options: &Options,
        mut rows: Shut<'_>,
        (flight, row): (Hold, Row),
        site: Site,
    ) -> Admission {
        if options.detached {
            // Under two locks, one of which nobody else can know.
            flight.core().detach(|| Arc::clone(&self.0));
        }
        rows.insert(row);
        drop(rows);
        self.placed(&flight, site, Role::Led);
        Admission::Led(flight)
    }

    #[cold]
    fn refuse(&self, options: &Options, site: Site, flight: &Hold) -> Admission {
        let limit = options.max_followers();
        if let Some(hooks) = self.0.hooks() {
            let of = &InFlight { site, flight };
            hooks.refused(&Call { of, role: Role::Joined, end: End::NotYet });
        }
        Admission::Refused(ReduceError::Overloaded(Overloaded::new(flight.describe(), limit)))
    }

    /// Tells that a call has a place.
    #[inline(always)]
    fn placed(&self, flight: &Hold, site: Site, role: Role) {
        if FlightSpan::IS_ON && role == Role::Led {
            quietly(|| flight.core().set_span(FlightSpan::open(flight.core())));
        }
        if let Some(hooks) = self.0.hooks() {
            tell_placed(hooks, flight, site, role);
        }
    }

    /// All flights in the table whose key equals `key`, of whatever function.
    fn flights_of<K: Hash + Eq + 'static>(&self, key: &K) -> impl Iterator<Item = Hold> {
        let hash = self.hash_with(|hasher| key.hash(hasher));
        let alike: Vec<_> = self
            .0
            .shut(hash)
            .with_hash(hash)
            .filter(|flight| flight.kind().has_keys::<K>())
            .cloned()
            .collect();
        alike.into_iter().filter(move |flight| flight.key() == Some(key))
    }

    pub(crate) fn forget<K: Hash + Eq + 'static>(&self, key: &K) -> bool {
        let mut any = false;
        for flight in self.flights_of(key) {
            any |= flight.core().is_flying();
            quietly(|| drop(self.0.free(&flight)));
        }
        any
    }

    pub(crate) fn is_in_flight<K: Hash + Eq + 'static>(&self, key: &K) -> bool {
        self.flights_of(key).any(|flight| flight.core().is_flying())
    }

    pub(crate) fn callers<K: Hash + Eq + 'static>(&self, key: &K) -> usize {
        self.flights_of(key).map(|flight| flight.core().callers()).sum()
    }

    pub(crate) fn in_flight(&self) -> usize {
        self.0.len()
    }
}
