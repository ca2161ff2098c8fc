//! One call in the air.
//!
//! # States
//! ```text
//! Flying ──work is done, panicked or timed out──▶ Landed     final; everybody gets a clone
//!    └──last caller left──▶ Ending ──work dropped──▶ Dropped  final; nobody is there
//! ```
//! Beside the phase there is the *seat*: whoever has it polls the work. A flight is `notified` when its
//! work has asked to be polled and nobody has begun to. Any caller that is polled again while the flight is
//! notified and the seat is free takes the seat; one that comes just then has itself polled again. So it matters to
//! nobody who led, and nobody can stall it.
//!
//! # Who may touch what
//! | field | who | when |
//! |---|---|---|
//! | `hull.key` | anybody | always; it never changes |
//! | `core.word`: the seat, the callers, whether it is over | anybody | always; each change is one atomic operation |
//! | `core.state`, `core.rent`: who waits, and whether it is time to move | anybody | under a lock, which is held for a few lines and never over user code |
//! | `core.home`: where it can move to | who has the lock, but for a leader that is going away | always |
//! | `core.absent` and a leader's waiter, while it is away | the leader, then who ends that | while it has the seat; once the word has told them so |
//! | `core.next` | the table | under a shard's lock |
//! | the work, `core.aboard`, `core.lent`, the clock in the `tail` | who has the seat | until it gives the seat up |
//! | the outcome, where the work was | written once, by who lands the flight; read by anybody | once the word says `OVER` |
//!
//! # Invariants
//! 1. The work is polled or dropped by who has the seat, and by nobody else.
//! 2. While a flight is notified and nobody has the seat, whoever may drive it has been woken since:
//!    every caller, or the flight's own task and every caller that the task's runtime does not serve; or it sees that itself
//!    when it gets in line.
//! 3. A flight's row goes before its outcome shows: who has seen the outcome finds the key free.
//! 4. The work is dropped before the key is free, so that two works of one key never overlap.
//!
//! # Why
//! DESIGN.md tells what else was tried.

use std::any::{Any, TypeId, type_name};
use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::ptr::fn_addr_eq;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

mod berth;
mod caller;
mod calls;
mod hold;
mod home;
mod host;
mod log;
mod phase;
mod ring;
mod row;
mod rows;
mod seat;
mod seldom;
mod table;
mod tail;
mod trace;
mod waiters;
mod waker;
mod word;

pub(crate) use berth::{Cargo, Full, Loan, Ready, Room};
pub(crate) use caller::{Led, Place, Waiting};
pub(crate) use hold::{Hold, same};
#[cfg(all(feature = "tokio", not(loom)))]
pub(crate) use host::require_runtime;
pub(crate) use log::Log;
pub(crate) use phase::Core;
pub(crate) use ring::{Link, waits_on_us, within};
pub(crate) use row::Row;
pub(crate) use rows::{Rows, Shut};
pub(crate) use table::Table;
pub(crate) use tail::Tail;
pub(crate) use waiters::Stake;
pub(crate) use word::Join;

use crate::error::{Cancelled, Panicked, ReduceError, TimedOut, message_of};
use crate::hooks::{AllHooks, Call, End, Told, shown};
use crate::key::Same;
use crate::reducer::Role;
pub(crate) use trace::FlightSpan;

/// What a flight comes to.
pub(crate) type Outcome<V> = Result<V, ReduceError>;

/// Which function a flight belongs to. Flights of different sites never meet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Site {
    /// What it is. Of a flight its kit knows that.
    id: fn() -> SiteId,
    /// Of one `wrap`, its number; 0 of anything else.
    wrap: u32,
}

/// A type that stands for one function, unless any call by hand is meant: there the key alone decides. And the name of
/// what was to be run, for people.
type SiteId = (Option<TypeId>, &'static str);

/// A type that says what a site is.
pub(crate) trait Named {
    /// Not inlined: then there is one of it in a crate, as a rule, and known by its address.
    fn id() -> SiteId;
}

/// Any call by hand: with work of an `F`, this one.
pub(crate) struct Open<F: ?Sized>(PhantomData<fn(&F)>);

impl<F: ?Sized> Named for Open<F> {
    #[inline(never)]
    fn id() -> SiteId {
        (None, type_name::<F>())
    }
}

/// The function under the attribute, or one instantiation of it, that the type `C` stands for.
pub(crate) struct Function<C>(PhantomData<fn() -> C>);

impl<C: 'static> Named for Function<C> {
    #[inline(never)]
    fn id() -> SiteId {
        (Some(TypeId::of::<C>()), type_name::<C>())
    }
}

impl Site {
    #[inline(always)]
    pub(crate) fn of<N: Named>() -> Self {
        Self { id: N::id, wrap: 0 }
    }

    /// Of one more `wrap` of an `F`.
    pub(crate) fn next_wrap<F>() -> Self {
        static WRAPS: AtomicU64 = AtomicU64::new(1);
        // Relaxed: only that no two are equal matters.
        let wrap = u32::try_from(WRAPS.fetch_add(1, Ordering::Relaxed));
        let wrap = wrap.expect("no program wraps four billion functions");
        Self { id: Open::<F>::id, wrap }
    }

    #[inline(always)]
    pub(crate) fn wrap(self) -> u32 {
        self.wrap
    }

    /// The path of the function, or of that which made the work.
    pub(crate) fn function(self) -> &'static str {
        path_of((self.id)().1)
    }

    fn is_function(self) -> bool {
        (self.id)().0.is_some()
    }
}

/// The path of the function that a type is made in. The marker is a closure in its function, whose own body may be
/// one; so is the future of an async function to the compiler.
pub(crate) fn path_of(type_name: &'static str) -> &'static str {
    let mut path = type_name;
    while let Some(around) = path.strip_suffix("::{{closure}}") {
        path = around;
    }
    path
}

impl PartialEq for Site {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        // One function may have several addresses, and share one with its like: the type decides.
        self.wrap == other.wrap
            && (fn_addr_eq(self.id, other.id) || (self.id)().0 == (other.id)().0)
    }
}

/// The types of a flight, by which calls find their like. Asked for, and not there, for what a type is cannot be known in a
/// constant before Rust 1.91; as a rule it is enough to see that both would ask the same.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kind {
    key: fn() -> TypeId,
    value: fn() -> TypeId,
}

impl Kind {
    #[inline(always)]
    pub(crate) const fn of<K: 'static, V: 'static>() -> Self {
        Self { key: id::<K>, value: id::<V> }
    }

    #[inline(always)]
    pub(crate) fn has_keys<K: 'static>(self) -> bool {
        is_same(self.key, id::<K>)
    }

    #[inline(always)]
    fn has_values<V: 'static>(self) -> bool {
        is_same(self.value, id::<V>)
    }
}

impl PartialEq for Kind {
    #[inline(always)]
    fn eq(&self, other: &Self) -> bool {
        is_same(self.key, other.key) && is_same(self.value, other.value)
    }
}

/// What a type is. Not inlined: then there is one of it in a crate, as a rule.
#[inline(never)]
fn id<T: 'static>() -> TypeId {
    TypeId::of::<T>()
}

/// Whether both say the same.
#[inline(always)]
fn is_same(a: fn() -> TypeId, b: fn() -> TypeId) -> bool {
    fn_addr_eq(a, b) || a() == b()
}

/// Whoever keeps the table alive for a caller, by reference or by share.
pub(crate) trait HoldsRows {
    fn rows(&self) -> &Rows;
    /// How long a flight may take that is led by this caller.
    fn timeout(&self) -> Option<Duration>;
}

/// What a flight has whatever its work.
pub(crate) trait Hulled: Send + Sync {
    fn key(&self) -> &dyn Any;
    fn types(&self) -> (&'static str, &'static str);
    fn show_key(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// A flight but for its work, which is behind it: `berth.rs`.
#[repr(C)] // begins with its core: `hold.rs`
pub(crate) struct Hull<K, V, S> {
    core: Core,
    key: K,
    types: PhantomData<fn() -> (V, S)>,
}

impl<K, V, S> Hull<K, V, S> {
    #[inline(always)]
    fn new(core: Core, key: K) -> Self {
        Self { core, key, types: PhantomData }
    }
}

impl<K, V, S> Hulled for Hull<K, V, S>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Same<K>,
{
    fn key(&self) -> &dyn Any {
        &self.key
    }

    fn types(&self) -> (&'static str, &'static str) {
        (type_name::<K>(), type_name::<V>())
    }

    fn show_key(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        S::show(&self.key, f)
    }
}

impl Hold {
    #[inline(always)]
    pub(crate) fn kind(&self) -> Kind {
        self.core().kit.kind
    }

    /// The key, if it is a `K`.
    #[inline(always)]
    #[allow(unsafe_code, reason = "a downcast; argued in berth.rs")]
    pub(crate) fn key<K: 'static>(&self) -> Option<&K> {
        // SAFETY: the kind is the flight's.
        self.kind().has_keys::<K>().then(|| unsafe { self.key_unchecked() })
    }

    pub(crate) fn describe(&self) -> String {
        let (key, value) = self.hull().types();
        describe(self.core().site(), key, value)
    }

    #[inline(always)]
    fn expect_values<V: 'static>(&self) {
        assert!(self.kind().has_values::<V>(), "the table compares value types");
    }

    /// Tells how the flight ends, with a value or with what it `failed` with, before any of its callers can know. By who
    /// has the seat, when the work is gone.
    #[inline(always)]
    pub(crate) fn tell_landing<V: 'static>(
        &self,
        rows: &Rows,
        value: Option<&V>,
        failed: Option<&ReduceError>,
    ) {
        if self.is_watched() {
            self.tell_end(
                rows,
                match (value, failed) {
                    (Some(value), _) if shown::is_err(value) => End::Err(Some(value)),
                    (Some(value), _) => End::Value(Some(value)),
                    (None, Some(error)) => End::Failed(error),
                    (None, None) => unreachable!("{NEITHER}"),
                },
            );
        }
    }

    /// The same of a flight that comes to nothing.
    pub(crate) fn tell_dropped(&self, rows: &Rows) {
        if self.is_watched() {
            self.tell_end(rows, End::Dropped);
        }
    }

    #[cold]
    fn tell_end(&self, rows: &Rows, end: End<'_>) {
        let (hooks, span) = (rows.hooks(), self.core().span());
        if span.is_open() || hooks.is_some_and(AllHooks::measures) {
            // Who has not joined by now starts anew: those who have are all that will be counted.
            let followers = self.close_to_joins();
            quietly(|| span.landed(followers, end.name()));
        }
        if let Some(hooks) = hooks {
            let of = &InFlight { site: self.core().site(), flight: self };
            hooks.ended(&Call { of, role: Role::Led, end });
        }
    }

    /// Drops the clock, and the work unless it is done and gone. By who has the seat.
    #[inline(always)]
    pub(crate) fn unload(&self, work: bool) {
        if work || self.has_clock() {
            self.unload_all();
        }
    }

    /// See [`unload`](Self::unload).
    #[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
    fn unload_all(&self) {
        quietly(|| self.stop_clock());
        // SAFETY: the seat.
        quietly(|| unsafe { self.clear() });
    }

    /// A clone of what everybody gets, made with no lock held: a value, or none and it has `failed`. Of a flight that has
    /// been seen to be over.
    #[inline(always)]
    #[allow(unsafe_code, reason = "the berth; argued in berth.rs")]
    pub(crate) fn landed<V: Clone + 'static>(&self, failed: &mut Option<ReduceError>) -> Option<V> {
        self.expect_values::<V>();
        assert!(self.core().word.seen().is_over(), "nobody asks before that");
        // SAFETY: as we have just seen.
        let outcome = unsafe { self.outcome_unchecked::<V>() };
        let outcome = outcome.expect("stored when the flight landed with followers");
        outcome.as_ref().map_err(|error| *failed = Some(error.clone())).ok().cloned()
    }

    /// Ends the flight, whose work is gone by now or never was, with a value or with what it `failed` with. By who has the
    /// seat. Either is given back if the driver, a caller, is the only one to want it.
    #[inline(always)]
    #[allow(unsafe_code, reason = "spares the lone flight an atomic operation: hold.rs")]
    pub(crate) fn land<V: 'static>(
        &self,
        value: Option<V>,
        failed: &mut Option<ReduceError>,
        rows: &Rows,
        driver_is_caller: bool,
    ) -> Option<V> {
        if let Some(row) = rows.free(self) {
            // SAFETY: a hold lies in a future that is being polled, or on this stack.
            unsafe { self.absorb(row.into_hold()) };
        }
        if driver_is_caller && self.is_last() {
            // Nobody ever saw the flight, or they are gone: there is nobody to tell, and no state to change.
            return value;
        }
        self.land_among_others(value, failed, driver_is_caller)
    }

    #[allow(unsafe_code, reason = "the berth; argued in berth.rs")]
    fn land_among_others<V: 'static>(
        &self,
        value: Option<V>,
        failed: &mut Option<ReduceError>,
        driver_is_caller: bool,
    ) -> Option<V> {
        let mut outcome = Some(either(value, failed));
        phase::land(self, driver_is_caller, || {
            if let Some(outcome) = outcome.take() {
                self.expect_values::<V>();
                // SAFETY: who lands a flight has the seat, and it is not over before this is done.
                unsafe { self.store_unchecked(outcome) };
            }
        });
        outcome?.map_err(|error| *failed = Some(error)).ok()
    }

    /// What the flight came to, for who has landed it: what was given back, or what all get.
    #[inline(always)]
    pub(crate) fn came_to<V: Clone + 'static>(
        &self,
        value: Option<V>,
        failed: &mut Option<ReduceError>,
    ) -> Option<V> {
        if value.is_some() || failed.is_some() { value } else { self.landed(failed) }
    }
}

/// The value, or what it `failed` with.
#[inline(always)]
pub(crate) fn either<V>(value: Option<V>, failed: &mut Option<ReduceError>) -> Outcome<V> {
    value.ok_or_else(|| failed.take().expect(NEITHER))
}

/// What cannot be.
const NEITHER: &str = "a flight lands with a value or an error";

/// A call's place in a flight, as the hooks see it.
pub(crate) struct InFlight<'a> {
    /// The call's own: by hand, each may have another function for the same key.
    pub(crate) site: Site,
    pub(crate) flight: &'a Hold,
}

impl Told for InFlight<'_> {
    fn function(&self) -> &'static str {
        self.site.function()
    }

    fn number(&self) -> u64 {
        self.flight.log().number
    }

    fn elapsed(&self) -> Duration {
        self.flight.log().elapsed()
    }

    fn followers(&self) -> usize {
        self.flight.joined() as usize
    }

    fn key(&self) -> Option<&dyn Any> {
        Some(self.flight.hull().key())
    }

    fn show_key(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.flight.hull().show_key(f)
    }
}

pub(crate) fn describe(site: Site, key: &str, value: &str) -> String {
    if site.is_function() {
        format!("`{}`", site.function())
    } else {
        format!("the call of `{value}` keyed by `{key}`")
    }
}

/// What a panic of the work means for its callers.
pub(crate) fn wreck(flight: &Hold, payload: Box<dyn Any + Send>) -> ReduceError {
    if flight.core().is_orphaned() {
        return stranded(flight, payload);
    }
    ReduceError::Panicked(Panicked::new(flight.describe(), payload))
}

/// What went wrong is that a runtime went away.
fn stranded(flight: &Hold, payload: Box<dyn Any + Send>) -> ReduceError {
    let reason = message_of(payload.as_ref());
    quietly(|| drop(payload));
    ReduceError::Cancelled(Cancelled::new(flight.describe(), reason))
}

/// Polls the work, then the clock, with `first` before them. By who has the seat. If something has come of it, the value,
/// or none and it has `failed`: that has been told to the hooks, and the work is gone; but the flight has not landed.
//
// The two apart, here and in all that follows: a value is a word as a rule, and goes in a register; a word that is written
// as half of something and read as part of the whole waits for itself.
#[inline(always)]
#[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
fn run<V: 'static>(
    flight: &Hold,
    cx: &mut Context<'_>,
    rows: &Rows,
    failed: &mut Option<ReduceError>,
    first: impl FnOnce(),
) -> Poll<Option<V>> {
    within(flight, || {
        let span = flight.core().span();
        let mut polled = Poll::Pending;
        let run = catch_unwind(AssertUnwindSafe(|| {
            let _entered = span.enter();
            first();
            // SAFETY: the caller has the seat, and a flight of such values.
            unsafe { flight.poll_work::<V>(cx, &mut polled) }
        }));
        let value = match (run, polled) {
            (Ok(()), Poll::Ready(value)) => Some(value),
            (Ok(()), Poll::Pending) => {
                if !flight.has_clock() || !time_is_over(flight, cx, failed) {
                    return Poll::Pending;
                }
                None
            }
            (Err(payload), polled) => unwound(flight, payload, polled, failed),
        };
        // Still in the air: a destructor that calls for its own key is told so, not left waiting.
        flight.unload(value.is_none());
        // So is a hook.
        flight.tell_landing(rows, value.as_ref(), failed.as_ref());
        Poll::Ready(value)
    })
}

/// Does what a flight begins with, in its name, for a leader who is not sure to poll it then. If that panics, so has the
/// work: then the flight has landed, as the answer says, and `failed`.
#[inline(never)]
fn begin<V: 'static>(
    flight: &Hold,
    rows: &Rows,
    failed: &mut Option<ReduceError>,
    first: impl FnOnce(&Hold),
) -> bool {
    let span = flight.core().span();
    let mut is_done = false;
    let begun = within(flight, || {
        catch_unwind(AssertUnwindSafe(|| {
            let _entered = span.enter();
            first(flight);
            is_done = true;
        }))
    });
    let Err(payload) = begun else { return false };
    if is_done {
        // It was the end of the span that was not.
        quietly(|| drop(payload));
        return false;
    }
    *failed = Some(wreck(flight, payload));
    within(flight, || {
        flight.unload(true);
        flight.tell_landing::<V>(rows, None, failed.as_ref());
    });
    let _ = flight.land::<V>(None, failed, rows, true);
    true
}

/// Whether the flight's time is over; then it has `failed`.
#[cold]
fn time_is_over(flight: &Hold, cx: &mut Context<'_>, failed: &mut Option<ReduceError>) -> bool {
    let Some(over) = flight.poll_clock(cx) else { return false };
    *failed = Some(match over {
        Ok(limit) => ReduceError::TimedOut(TimedOut::new(flight.describe(), limit)),
        Err(payload) => stranded(flight, payload),
    });
    true
}

/// What becomes of it if the poll panicked.
#[cold]
fn unwound<V>(
    flight: &Hold,
    payload: Box<dyn Any + Send>,
    polled: Poll<V>,
    failed: &mut Option<ReduceError>,
) -> Option<V> {
    match polled {
        // It was done; its destructor was not. The panic hook has reported it.
        Poll::Ready(value) => {
            quietly(|| drop(payload));
            Some(value)
        }
        Poll::Pending => {
            *failed = Some(wreck(flight, payload));
            None
        }
    }
}

/// Polls the work, and lands the flight if something came of it. By who has the seat, and is no caller.
fn step<V: 'static>(flight: &Hold, cx: &mut Context<'_>, rows: &Rows) -> Poll<()> {
    let mut failed = None;
    let value = ready!(run::<V>(flight, cx, rows, &mut failed, || ()));
    let left = flight.land(value, &mut failed, rows, false);
    quietly(|| drop(left));
    quietly(|| drop(failed));
    Poll::Ready(())
}

/// Runs what may panic where no caller is to blame: a destructor, a waker. The panic hook has reported
/// it; it goes no further.
#[inline(always)]
pub(crate) fn quietly(act: impl FnOnce()) {
    if let Err(payload) = catch_unwind(AssertUnwindSafe(act)) {
        forget_panic(payload);
    }
}

#[cold]
fn forget_panic(payload: Box<dyn Any + Send>) {
    // A payload's destructor may panic in its turn, and what it panics with has one as well.
    if let Err(payload) = catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(payload);
    }
}
