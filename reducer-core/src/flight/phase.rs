//! The state of a flight, and every way it changes. See `mod.rs` for the picture.
//!
//! Each transition takes the lock, changes the state, and returns what must now be done without it.

use std::any::Any;
use std::future::Future;
use std::mem::{self, ManuallyDrop};
use std::ops::{Deref, DerefMut};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use super::berth::{Kit, Seated};
use super::calls::Calls;
use super::hold::Count;
use super::host::{Deadline, Home, Lift};
use super::log::Log;
use super::trace::FlightSpan;
use super::waiters::{Side, Waiter, Waiters};
use super::waker;
use super::row::Next;
use super::{Hold, Outcome, Rows, Site, quietly, ring, run};
use crate::sync::{Mutex, MutexGuard};

/// How many wake-ups a shared flight may spend on callers that then find nothing to do, before it moves
/// to a task of its own. A spawned task costs about as much: like any rent-or-buy choice this never costs
/// more than twice the better one.
const RENT: u8 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// Calls with an equal key join.
    Flying,
    /// The last caller left; the work is being dropped. Nobody joins, nobody starts anew.
    Ending,
    /// There is an outcome. Final.
    Landed,
    /// There is none, and nobody who waits for it. Final.
    Dropped,
}

/// What a caller is to its flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stake {
    Leader,
    Follower,
    /// Waits for an `Ending` flight to be over. Not counted.
    Bystander,
}

/// The part of a flight that does not depend on its types.
pub(crate) struct Core {
    pub(super) count: Count,
    pub(super) next: Next,
    pub(super) kit: &'static Kit,
    pub(crate) hash: u64,
    pub(crate) site: Site,
    pub(crate) log: Log,
    state: Mutex<State>,
    /// Whether there is work in its place.
    pub(super) aboard: Seated<bool>,
    clock: Seated<Seldom<Box<Deadline>>>,
}

pub(crate) struct State {
    phase: Phase,
    /// Somebody is polling the work, or building it.
    seated: bool,
    /// The work asked to be polled, and nobody has begun to.
    notified: bool,
    /// The work goes on when nobody waits for it.
    detached: bool,
    /// There is a task that carries this flight.
    hosted: bool,
    /// A task that carried this flight died.
    orphaned: bool,
    leader: bool,
    followers: u32,
    /// All that have ever been followers.
    joined: u32,
    /// Takes no more of them: how it ends is being told.
    closed: bool,
    /// Wake-ups of callers so far, up to `RENT`.
    spent: u8,
    pub(super) waiters: Waiters,
    span: FlightSpan,
    lift: Seldom<Lift>,
    more: Seldom<Box<More>>,
}

/// An `Option` that is `None` as a rule: then its end takes no call.
struct Seldom<T>(ManuallyDrop<Option<T>>);

impl<T> Seldom<T> {
    #[inline(always)]
    fn none() -> Self {
        Self(ManuallyDrop::new(None))
    }
}

impl<T> Deref for Seldom<T> {
    type Target = Option<T>;

    #[inline(always)]
    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T> DerefMut for Seldom<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Option<T> {
        &mut self.0
    }
}

impl<T> Drop for Seldom<T> {
    #[inline(always)]
    fn drop(&mut self) {
        #[cold]
        #[inline(never)]
        fn end<T>(place: &mut Option<T>) {
            *place = None;
        }
        if self.is_some() {
            end(&mut self.0);
        }
    }
}

/// What most flights have none of, and no room for.
#[derive(Default)]
struct More {
    /// Wakes the task that carries the flight. `None` also while it is on its way to poll.
    host: Option<Waker>,
    /// The flights that this one's work waits on; see `ring.rs`.
    waits: Vec<Hold>,
}

/// What came of an attempt to join.
#[must_use]
pub(crate) enum Join {
    Joined,
    Full,
    Ending,
    Over,
}

/// What a polled caller shall do.
#[must_use]
pub(crate) enum Turn {
    /// Poll the work: the seat is yours.
    ///
    /// From outside of any runtime, in the flight's own.
    Drive(Option<Home>),
    Wait,
    Over,
}

impl Core {
    /// The core of a flight with its leader in the seat.
    #[inline(always)]
    pub(super) fn new(
        hash: u64,
        site: Site,
        log: Log,
        kit: &'static Kit,
        aboard: bool,
    ) -> Self {
        let state = State {
            phase: Phase::Flying,
            seated: true,
            notified: false,
            detached: false,
            hosted: false,
            orphaned: false,
            leader: true,
            followers: 0,
            joined: 0,
            closed: false,
            spent: 0,
            waiters: Waiters::new(),
            span: FlightSpan::default(),
            lift: Seldom::none(),
            more: Seldom::none(),
        };
        Self {
            count: Count::two(),
            next: Next::new(),
            kit,
            hash,
            site,
            log,
            state: Mutex::new(state),
            aboard: Seated::new(aboard),
            clock: Seated::new(Seldom::none()),
        }
    }

    /// From now on the work goes on when nobody waits for it, where we are. By the leader, before it is polled.
    #[cold]
    pub(crate) fn detach(&self, rows: impl FnOnce() -> Arc<dyn Rows>) {
        let mut state = self.lock();
        state.detached = true;
        state.note_runtime(rows);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn is_flying(&self) -> bool {
        self.lock().phase == Phase::Flying
    }

    pub(crate) fn callers(&self) -> usize {
        self.lock().callers()
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.lock().orphaned
    }

    pub(crate) fn set_span(&self, span: FlightSpan) {
        self.lock().span = span;
    }

    pub(crate) fn span(&self) -> FlightSpan {
        if FlightSpan::IS_ON { self.lock().span.clone() } else { FlightSpan::default() }
    }

    pub(crate) fn joined(&self) -> u32 {
        self.lock().joined
    }

    /// How many have joined, which are now all that ever will.
    pub(crate) fn close_to_joins(&self) -> u32 {
        let mut state = self.lock();
        state.closed = true;
        state.joined
    }

    /// One more follower, if the flight still takes any.
    pub(crate) fn join(&self, limit: Option<usize>, rows: impl FnOnce() -> Arc<dyn Rows>) -> Join {
        let mut state = self.lock();
        match state.phase {
            Phase::Flying if state.closed => return Join::Over,
            Phase::Flying => {}
            Phase::Ending => return Join::Ending,
            Phase::Landed | Phase::Dropped => return Join::Over,
        }
        // The count itself is a limit too: callers that are forgotten never leave it.
        let room = limit.map_or(u32::MAX, |limit| u32::try_from(limit).unwrap_or(u32::MAX));
        if state.followers >= room {
            return Join::Full;
        }
        state.followers += 1;
        // Those who have left are in it, so a flight that lasts may come to the end of it.
        state.joined = state.joined.saturating_add(1);
        state.note_runtime(rows);
        Join::Joined
    }

    /// A caller is polled.
    pub(crate) fn turn(
        &self,
        waiter: Pin<&Waiter>,
        stake: Stake,
        parks: bool,
        new: bool,
        cx: &mut Context<'_>,
    ) -> Turn {
        // Who is new will most likely wait.
        let mut fresh = new.then(|| cx.waker().clone());
        loop {
            let mut state = self.lock();
            if state.is_over_for(stake) {
                let old = state.waiters.remove(waiter);
                drop(state);
                drop(old);
                return Turn::Over;
            }
            if stake != Stake::Bystander && state.take_seat() {
                // A leader on its own drives where it would without us.
                let crowd = stake == Stake::Follower || !state.is_alone();
                let lift = state.lift.as_ref().filter(|_| crowd);
                let home = lift.and_then(Lift::for_outsiders);
                drop(state);
                // A panic here would take along the seat, which is nobody's yet.
                if fresh.is_some() {
                    quietly(|| drop(fresh));
                }
                return Turn::Drive(home);
            }
            let side = state.side(parks);
            if state.waiters.has(waiter, side, cx.waker()) {
                return Turn::Wait;
            }
            if let Some(waker) = fresh.take() {
                let old = state.register(waiter, side, waker);
                drop(state);
                drop(old);
                return Turn::Wait;
            }
            // A waker's clone is its owner's code: not under the lock.
            drop(state);
            fresh = Some(cx.waker().clone());
        }
    }

    /// Whether the flight's time is over, and how long it was; or what the clock said when it panicked, as
    /// it does when its runtime is gone. By who has the seat.
    #[inline]
    pub(super) fn poll_clock(
        &self,
        cx: &mut Context<'_>,
    ) -> Option<Result<Duration, Box<dyn Any + Send>>> {
        if self.has_clock() { self.ask_clock(cx) } else { None }
    }

    #[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
    fn ask_clock(&self, cx: &mut Context<'_>) -> Option<Result<Duration, Box<dyn Any + Send>>> {
        let ask = |clock: &mut Seldom<Box<Deadline>>| match Pin::new(clock.as_mut()?).poll(cx) {
            Poll::Ready(limit) => Some(limit),
            Poll::Pending => None,
        };
        // SAFETY: the caller has the seat.
        match catch_unwind(AssertUnwindSafe(|| unsafe { self.clock.with(ask) })) {
            Ok(limit) => limit.map(Ok),
            Err(payload) => Some(Err(payload)),
        }
    }

    /// Gives the flight its time, from now. By who has the seat. tokio panics where a runtime has no clock.
    #[cold]
    #[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
    pub(super) fn set_clock(&self, timeout: Duration) {
        let clock = Box::new(Deadline::after(timeout));
        // SAFETY: the caller has the seat.
        unsafe { self.clock.with(|place| **place = Some(clock)) };
    }

    /// By who has the seat.
    #[inline]
    #[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
    pub(super) fn has_clock(&self) -> bool {
        // SAFETY: the caller has the seat.
        unsafe { self.clock.with(|clock| clock.is_some()) }
    }

    /// By who has the seat. The clock has a waker of the flight, and would keep it for ever.
    #[allow(unsafe_code, reason = "the seat; argued in berth.rs")]
    pub(super) fn stop_clock(&self) {
        // SAFETY: the caller has the seat.
        drop(unsafe { self.clock.with(|clock| clock.take()) });
    }

    /// The flight's own task is polled.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn turn_of_host(&self, cx: &mut Context<'_>) -> Turn {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if state.phase != Phase::Flying {
            return Turn::Over;
        }
        if state.take_seat() {
            return Turn::Drive(None);
        }
        let old = state.more().host.replace(waker);
        drop(state);
        drop(old);
        Turn::Wait
    }
}

impl State {
    fn more(&mut self) -> &mut More {
        self.more.get_or_insert_default()
    }

    fn take_host(&mut self) -> Option<Waker> {
        self.more.as_mut()?.host.take()
    }

    /// The flights that this one's work waits on.
    pub(crate) fn waits(&mut self) -> &mut Vec<Hold> {
        &mut self.more().waits
    }

    /// As `waits`, if there are any.
    pub(crate) fn waits_if_any(&self) -> &[Hold] {
        self.more.as_ref().map_or(&[], |more| &more.waits)
    }

    fn callers(&self) -> usize {
        self.followers as usize + usize::from(self.leader)
    }

    fn is_alone(&self) -> bool {
        self.callers() == 1 && !self.hosted
    }

    /// Notes the runtime that we are in, and how the flight can move there if it is to. Whether that is news, and a
    /// runtime.
    fn note_runtime(&mut self, rows: impl FnOnce() -> Arc<dyn Rows>) -> bool {
        let first = self.lift.is_none();
        if first {
            *self.lift = Lift::here();
        }
        let may_move = self.callers() > 1 || self.detached;
        if let Some(lift) = self.lift.as_mut().filter(|_| may_move) {
            lift.equip(rows);
        }
        first && self.lift.is_some()
    }

    fn is_over_for(&self, stake: Stake) -> bool {
        match self.phase {
            Phase::Flying => false,
            Phase::Ending => stake != Stake::Bystander,
            Phase::Landed | Phase::Dropped => true,
        }
    }

    fn take_seat(&mut self) -> bool {
        let free = !self.seated && self.notified;
        if free {
            self.seated = true;
            self.notified = false;
        }
        free
    }

    /// The queue for a caller that is polled here and now. One that parks its thread in between may park
    /// the very thread that the flight's task needs: no task serves it.
    fn side(&self, parks: bool) -> Side {
        match &*self.lift {
            Some(lift) if !parks && lift.leads_here() => Side::Native,
            _ => Side::Foreign,
        }
    }

    #[must_use]
    #[allow(unsafe_code, reason = "the one place that links a caller in")]
    fn register(&mut self, waiter: Pin<&Waiter>, side: Side, waker: Waker) -> Option<Waker> {
        // SAFETY: a `Waiting` shows its waiter to the core of its own flight only. It lets go of the flight
        // after `leave`, which removes the waiter; after `turn` has said `Over`, and removed it; or after it
        // has landed the flight itself, which removes them all, unless nobody else holds it: then the list is
        // gone with the flight. Nobody registers with one that is over.
        unsafe { self.waiters.set(waiter, side, waker) }
    }

    /// Decides whom to wake now that the work wants to be polled.
    fn call(&mut self) -> Calls {
        let mut calls = self.all();
        if self.hosted {
            calls.first = self.take_host();
            calls.native = 0;
            return calls;
        }
        // One of them will drive.
        let wasted = calls.native.saturating_sub(1);
        match &*self.lift {
            Some(lift) if u32::from(self.spent) + wasted > u32::from(RENT) => {
                calls.lift = Some(lift.clone());
                calls.native = 0;
                self.hosted = true;
            }
            Some(_) => self.spent += wasted as u8,
            // Nobody is native to nowhere.
            None => {}
        }
        self.with_first(calls)
    }

    fn all(&self) -> Calls {
        Calls {
            first: None,
            native: self.waiters.len(Side::Native),
            foreign: self.waiters.len(Side::Foreign),
            lift: None,
        }
    }

    /// One alone is taken along at once: nobody has to come back for it.
    fn with_first(&mut self, mut calls: Calls) -> Calls {
        let side = match (calls.native, calls.foreign) {
            (1, 0) => Side::Native,
            (0, 1) => Side::Foreign,
            _ => return calls,
        };
        calls.first = self.waiters.pop(side);
        (calls.native, calls.foreign) = (0, 0);
        calls
    }

    /// Everybody is to be told that the flight is over.
    fn dismiss(&mut self) -> Calls {
        let calls = self.all();
        match self.take_host() {
            None => self.with_first(calls),
            first => Calls { first, ..calls },
        }
    }
}

/// The work asks to be polled.
pub(crate) fn notify(flight: &Hold) {
    let mut state = flight.core().lock();
    // Whoever has the seat will see the mark; whoever was called before and has not come yet, too.
    if state.phase != Phase::Flying || mem::replace(&mut state.notified, true) || state.seated {
        return;
    }
    let calls = state.call();
    drop(state);
    calls.make_for(flight);
}

/// The right to poll the work. Given up on every way out.
pub(crate) struct Seat<'a> {
    flight: &'a Hold,
    rows: &'a dyn Rows,
}

impl<'a> Seat<'a> {
    /// For the one whom `turn` told to drive, or who leads and has not been polled yet.
    pub(crate) fn new(flight: &'a Hold, rows: &'a dyn Rows) -> Self {
        Self { flight, rows }
    }

    /// The first poll of the work, by its leader, with `first` before it. The outcome is there if it has come to one,
    /// the flight has landed, and nobody else wants it; with the flight the seat is gone.
    #[inline(always)]
    pub(crate) fn begin<V: 'static>(
        self,
        first: impl FnOnce(&Hold),
    ) -> Result<Option<Outcome<V>>, Self> {
        let waker = waker::waker(self.flight);
        let mut cx = Context::from_waker(waker.get());
        match run::<V>(self.flight, &mut cx, self.rows, || first(self.flight)) {
            None => Err(self),
            Some(outcome) => {
                let left = self.flight.land(outcome, self.rows, true);
                mem::forget(self);
                Ok(left)
            }
        }
    }

    /// Polls the work. `None` when it is ready: the flight has landed, and with it the seat is gone.
    pub(crate) fn drive(self, mine: Option<&mut dyn Any>, home: Option<Home>) -> Option<Self> {
        let waker = waker::waker(self.flight);
        let _entered = home.as_ref().map(Home::enter);
        let mut cx = Context::from_waker(waker.get());
        match (self.flight.core().kit.step)(self.flight, &mut cx, self.rows, mine) {
            Poll::Pending => Some(self),
            Poll::Ready(()) => {
                mem::forget(self);
                None
            }
        }
    }

    /// Stays with the caller, to be given up by another of its kind.
    pub(crate) fn keep(self) {
        mem::forget(self);
    }

    /// The work is not ready; wait like everybody else.
    pub(crate) fn give_up(self, waiter: Pin<&Waiter>, parks: bool, cx: &mut Context<'_>) {
        let waker = cx.waker().clone();
        let Self { flight, rows } = self;
        // From here on nothing can panic before the seat is free.
        mem::forget(self);
        let mut state = flight.core().lock();
        state.seated = false;
        if state.notified && state.callers() == 1 && !state.hosted {
            drop(state);
            waker.wake();
            return;
        }
        // The work will be polled again: where it began is known here, and nowhere later.
        let here = state.note_runtime(|| rows.share());
        let side = if here && !parks { Side::Native } else { state.side(parks) };
        let old = state.register(waiter, side, waker);
        let calls = state.notified.then(|| state.call());
        drop(state);
        if let Some(calls) = calls {
            calls.make_for(flight);
        }
        // Last, for a waker's destructor may panic.
        drop(old);
    }

    /// As `give_up`, for the flight's own task.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn give_up_as_host(self, cx: &mut Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let Self { flight, rows } = self;
        mem::forget(self);
        let mut state = flight.core().lock();
        if state.phase == Phase::Ending {
            drop(state);
            end(flight, rows);
            return Poll::Ready(());
        }
        state.seated = false;
        let old = state.more().host.replace(waker);
        let calls = state.notified.then(|| state.call());
        drop(state);
        if let Some(calls) = calls {
            calls.make_for(flight);
        }
        drop(old);
        Poll::Pending
    }
}

impl Drop for Seat<'_> {
    /// The holder panicked: its waker while it was cloned, as a rule. Whoever comes next looks for itself.
    fn drop(&mut self) {
        let mut state = self.flight.core().lock();
        match state.phase {
            Phase::Landed | Phase::Dropped => {}
            Phase::Ending => {
                drop(state);
                end(self.flight, self.rows);
            }
            Phase::Flying => {
                state.seated = false;
                state.notified = true;
                let calls = state.call();
                drop(state);
                calls.make_for(self.flight);
            }
        }
    }
}

/// A caller goes before its flight is over. `in_seat`: it leads and was never polled.
pub(crate) fn leave(
    flight: &Hold,
    rows: &dyn Rows,
    waiter: Pin<&Waiter>,
    stake: Stake,
    in_seat: bool,
) {
    let mut state = flight.core().lock();
    let old = state.waiters.remove(waiter);
    match stake {
        Stake::Leader => state.leader = false,
        Stake::Follower => state.followers -= 1,
        Stake::Bystander => {}
    }
    if in_seat {
        state.seated = false;
        state.notified = true;
    }
    let flying = state.phase == Phase::Flying;
    if flying && stake != Stake::Bystander && state.callers() == 0 {
        last_one_left(flight, rows, state);
    } else if flying && in_seat {
        let calls = state.call();
        drop(state);
        calls.make_for(flight);
    } else {
        drop(state);
    }
    quietly(|| drop(old));
}

/// Nobody waits any more: the work is dropped, or goes on in a task of its own if it is detached.
fn last_one_left(flight: &Hold, rows: &dyn Rows, mut state: MutexGuard<'_, State>) {
    // Whoever polls holds the flight: so nobody does, and it was landed alone (`Hold::land`) by a poll that unwound
    // after that.
    if state.seated && flight.is_last() {
        return;
    }
    if state.detached {
        if state.hosted {
            return;
        }
        if let Some(lift) = state.lift.clone() {
            state.hosted = true;
            drop(state);
            lift.carry(flight.clone());
            return;
        }
    }
    state.phase = Phase::Ending;
    // If somebody is polling, it ends the flight when the poll returns.
    if !mem::replace(&mut state.seated, true) {
        drop(state);
        end(flight, rows);
    }
}

/// Drops the work, frees the key, and lets in who waited for that. The seat is ours for good.
fn end(flight: &Hold, rows: &dyn Rows) {
    // If this is the doing of another flight's work, that flight waits for this destructor.
    let mut link = ring::Link::default();
    let _ = link.refresh(flight);
    ring::within(flight, || {
        flight.unload(true);
        flight.tell_dropped(rows);
    });
    link.cut(flight);
    drop(rows.free(flight));
    close(flight, flight.core().lock(), Phase::Dropped);
}

/// The flight has an outcome and its key is free: publishes it and tells everybody. `store` puts the
/// outcome in place; it is not called, and the answer is `false`, if the driver is the only caller, who
/// may then have the outcome itself, or if there is none at all.
pub(crate) fn land(flight: &Hold, driver_is_caller: bool, store: impl FnOnce()) -> bool {
    let state = flight.core().lock();
    let shared = state.callers() > usize::from(driver_is_caller);
    if shared {
        // Under the lock, for whoever joins is either seen here or too late. It moves a value: no user
        // code runs.
        store();
    }
    close(flight, state, Phase::Landed);
    shared
}

fn close(flight: &Hold, mut state: MutexGuard<'_, State>, phase: Phase) {
    state.phase = phase;
    let calls = state.dismiss();
    let more = state.more.take();
    let lift = state.lift.take();
    // Who has joined and not been polled since has its own span to link to this one, which then goes with the flight.
    let linked = state.followers == 0;
    let span = if linked { mem::take(&mut state.span) } else { FlightSpan::default() };
    drop(state);
    calls.make(flight);
    if more.is_some() || lift.is_some() || FlightSpan::IS_ON {
        quietly(|| drop((more, lift, span)));
    }
}

/// The task that carried `flight` was dropped: done, or its runtime died.
#[cfg(all(feature = "tokio", not(loom)))]
pub(crate) fn host_is_gone(flight: &Hold, rows: &dyn Rows) {
    let mut state = flight.core().lock();
    if state.phase != Phase::Flying {
        return;
    }
    state.orphaned = true;
    state.hosted = false;
    let host = state.take_host();
    let lift = state.lift.take();
    state.notified = true;
    if state.callers() == 0 {
        last_one_left(flight, rows, state);
    } else if !state.seated {
        let calls = state.call();
        drop(state);
        calls.make_for(flight);
    } else {
        drop(state);
    }
    quietly(|| drop((host, lift)));
}

#[cfg(all(test, not(loom)))]
mod tests {
    use std::future::Pending;
    use std::sync::Arc;

    use super::{Join, Log, Rows};
    use crate::flight::{Cargo, Hold, Site};
    use crate::key::ByEq;

    fn rows() -> Arc<dyn Rows> {
        unreachable!("there is no runtime here to move to")
    }

    fn flight(followers: u32, joined: u32) -> Hold {
        let cargo = Cargo::<(), (), ByEq>::later::<Pending<()>>();
        let (flight, _row) = cargo.launch(0, Site::open::<()>(), Log::default(), ());
        let mut state = flight.core().lock();
        (state.followers, state.joined) = (followers, joined);
        drop(state);
        flight
    }

    #[test]
    fn a_flight_with_four_billion_followers_is_full() {
        let flight = flight(u32::MAX - 1, 0);
        assert!(matches!(flight.core().join(None, rows), Join::Joined));
        for limit in [None, Some(usize::MAX)] {
            assert!(matches!(flight.core().join(limit, rows), Join::Full));
        }
        assert_eq!(flight.core().lock().followers, u32::MAX);
    }

    #[test]
    fn a_flight_that_four_billion_have_come_to_and_left_takes_more() {
        let flight = flight(0, u32::MAX);
        assert!(matches!(flight.core().join(None, rows), Join::Joined));
        let state = flight.core().lock();
        assert_eq!((state.followers, state.joined), (1, u32::MAX));
    }
}
