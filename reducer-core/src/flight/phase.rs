//! What is under a flight's lock: who waits, and where the flight can move to; and every way a flight changes, with
//! what all see at once (`word.rs`). See `mod.rs` for the picture.
//!
//! Each transition changes the word or the state, and returns what must now be done without the lock.

use std::mem::{self, ManuallyDrop};
use std::ops::{Deref, DerefMut};
use std::pin::Pin;
use std::sync::Arc;
// Not loom's: what they are for is changed under a lock.
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Waker};

use super::berth::{Aboard, Kit, Seated};
use super::calls::Calls;
use super::hold::Count;
use super::host::{Home, Lift};
use super::row::Next;
use super::trace::FlightSpan;
use super::waiters::{Side, Waiter, Waiters};
use super::word::{Left, Word};
use super::{Hold, Rows, Site, quietly, ring};
use crate::sync::{Mutex, MutexGuard};

/// How many wake-ups a shared flight may spend on callers that then find nothing to do, before it moves
/// to a task of its own. A spawned task costs about as much: like any rent-or-buy choice this never costs
/// more than twice the better one.
const RENT: u8 = 16;

/// A task that carried the flight died.
const ORPHANED: u8 = 1 << 7;

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
    pub(crate) hash: u32,
    // With what the kit says, the site.
    wrap: u32,
    pub(super) word: Word,
    state: Mutex<State>,
    pub(super) aboard: Seated<Aboard>,
    /// There is a `Tail`.
    pub(super) has_tail: bool,
    /// There is a `Loan`. Changed by who has the seat, and by a loan that has gone astray.
    pub(super) lent: AtomicBool,
    /// Of the state, which has no room for it: changed under its lock. Wake-ups of callers so far, up to `RENT`; and
    /// `ORPHANED`.
    rent: AtomicU8,
}

pub(crate) struct State {
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
        hash: u32,
        wrap: u32,
        kit: &'static Kit,
        aboard: Aboard,
        has_tail: bool,
    ) -> Self {
        let state = State {
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
            wrap,
            word: Word::new(),
            state: Mutex::new(state),
            aboard: Seated::new(aboard),
            has_tail,
            lent: AtomicBool::new(false),
            rent: AtomicU8::new(0),
        }
    }

    /// From now on the work goes on when nobody waits for it, where we are. By the leader, before it is polled.
    #[cold]
    pub(crate) fn detach(&self, rows: impl FnOnce() -> Arc<Rows>) {
        self.word.detach();
        self.lock().note_runtime(true, rows);
    }

    /// Whether nothing needs to be dropped, here, in the berth or in a tail. By the last who holds the flight.
    #[inline(always)]
    #[allow(unsafe_code, reason = "as in berth.rs")]
    pub(super) fn is_bare(&mut self) -> bool {
        // Where there are no futexes a lock has memory of its own.
        if mem::needs_drop::<Mutex<()>>() {
            return false;
        }
        let state = self.state.get_mut();
        // SAFETY: nobody else is there, so nobody else has the seat.
        let aboard = unsafe { self.aboard.with(|aboard| *aboard) };
        aboard == Aboard::Nothing
            && !self.has_tail
            && !FlightSpan::IS_ON
            && state.lift.is_none()
            && state.more.is_none()
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    #[inline(always)]
    pub(crate) fn site(&self) -> Site {
        Site { id: self.kit.site, wrap: self.wrap }
    }

    pub(crate) fn is_flying(&self) -> bool {
        self.word.seen().is_flying()
    }

    pub(crate) fn callers(&self) -> usize {
        self.word.seen().callers()
    }

    pub(crate) fn is_orphaned(&self) -> bool {
        self.rent.load(Ordering::Relaxed) & ORPHANED != 0
    }

    pub(crate) fn set_span(&self, span: FlightSpan) {
        self.lock().span = span;
    }

    pub(crate) fn span(&self) -> FlightSpan {
        if FlightSpan::IS_ON { self.lock().span.clone() } else { FlightSpan::default() }
    }

    /// A caller is polled for the first time, and is no leader. Whether the flight is not over: then it waits.
    pub(crate) fn enlist(
        &self,
        waiter: Pin<&Waiter>,
        stake: Stake,
        parks: bool,
        rows: &Rows,
        cx: &mut Context<'_>,
    ) -> bool {
        // A waker's clone is its owner's code: not under the lock.
        let waker = cx.waker().clone();
        let mut state = self.lock();
        let seen = self.word.seen();
        if seen.is_over() {
            drop(state);
            drop(waker);
            return false;
        }
        let follows = stake != Stake::Bystander;
        let noted = follows && state.note_runtime(true, || rows.share());
        let side = if noted && !parks { Side::Native } else { state.side(parks) };
        state.register_new(waiter, side, waker);
        // Who comes when the work is awake leaves it to those who were called before, and may share with more
        // to come; but sees for itself, the next time, whether they have. The flight's task can be relied on.
        // If it was woken since, whoever calls waits for the lock.
        let look_again =
            follows && seen.is_notified() && !(seen.is_hosted() && side == Side::Native);
        drop(state);
        if look_again {
            cx.waker().wake_by_ref();
        }
        true
    }

    /// A caller is polled again.
    #[inline(always)]
    pub(crate) fn turn(
        &self,
        waiter: Pin<&Waiter>,
        stake: Stake,
        parks: bool,
        cx: &mut Context<'_>,
    ) -> Turn {
        // A leader on its own drives where it would without us.
        if stake == Stake::Leader && self.word.take_seat_alone() {
            return Turn::Drive(None);
        }
        self.turn_among_others(waiter, stake, parks, cx)
    }

    fn turn_among_others(
        &self,
        waiter: Pin<&Waiter>,
        stake: Stake,
        parks: bool,
        cx: &mut Context<'_>,
    ) -> Turn {
        let mut fresh = None;
        loop {
            let mut state = self.lock();
            if self.word.seen().is_over() {
                let old = state.waiters.remove(waiter);
                drop(state);
                drop((old, fresh));
                return Turn::Over;
            }
            if stake != Stake::Bystander && self.word.take_seat() {
                let home = state.lift.as_ref().and_then(Lift::for_outsiders);
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
            drop(state);
            // A waker's clone is its owner's code: not under the lock.
            fresh = Some(cx.waker().clone());
        }
    }

    /// The flight's own task is polled.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn turn_of_host(&self, cx: &mut Context<'_>) -> Turn {
        let waker = cx.waker().clone();
        let mut state = self.lock();
        if !self.word.seen().is_flying() {
            return Turn::Over;
        }
        if self.word.take_seat() {
            return Turn::Drive(None);
        }
        let old = state.wait_as_host(waker);
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

    /// The flight's task waits to be woken. Gives back the waker that it had, to be dropped when the lock is free.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(super) fn wait_as_host(&mut self, waker: Waker) -> Option<Waker> {
        self.more().host.replace(waker)
    }

    /// Notes the runtime that we are in, and, if the flight `may_move`, how it can move there. Whether that is news, and a
    /// runtime.
    pub(super) fn note_runtime(
        &mut self,
        may_move: bool,
        rows: impl FnOnce() -> Arc<Rows>,
    ) -> bool {
        let first = self.lift.is_none();
        if first {
            *self.lift = Lift::here();
        }
        if let Some(lift) = self.lift.as_mut().filter(|_| may_move) {
            lift.equip(rows);
        }
        first && self.lift.is_some()
    }

    /// The queue for a caller that is polled here and now. One that parks its thread in between may park
    /// the very thread that the flight's task needs: no task serves it.
    #[inline]
    pub(super) fn side(&self, parks: bool) -> Side {
        match &*self.lift {
            Some(lift) if !parks && lift.leads_here() => Side::Native,
            _ => Side::Foreign,
        }
    }

    /// Puts a caller in line.
    #[must_use]
    #[allow(unsafe_code, reason = "links a caller in")]
    pub(super) fn register(
        &mut self,
        waiter: Pin<&Waiter>,
        side: Side,
        waker: Waker,
    ) -> Option<Waker> {
        // SAFETY: a `Waiting` shows its waiter to the core of its own flight only. It lets go of the flight
        // after `leave`, which removes the waiter; after `turn` has said `Over`, and removed it; when it has seen that the
        // flight is over and it is in no queue; or after it has landed the flight itself, which removes them all, unless
        // nobody else holds it: then the list is gone with the flight. Nobody registers with one that is over.
        unsafe { self.waiters.set(waiter, side, waker) }
    }

    /// As `register`, of a caller who has never stood in line.
    #[inline(always)]
    #[allow(unsafe_code, reason = "links a caller in")]
    fn register_new(&mut self, waiter: Pin<&Waiter>, side: Side, waker: Waker) {
        // SAFETY: as in `register`.
        unsafe { self.waiters.link(waiter, side, waker) };
    }

    /// Decides whom to wake now that the work wants to be polled.
    pub(super) fn call(&mut self, core: &Core) -> Calls {
        let mut calls = self.all();
        let seen = core.word.seen();
        if seen.is_hosted() {
            calls.first = self.take_host();
            calls.native = 0;
            return calls;
        }
        // One of them will drive.
        let wasted = calls.native.saturating_sub(1);
        let rent = core.rent.load(Ordering::Relaxed);
        let (spent, orphaned) = (rent & !ORPHANED, rent & ORPHANED);
        match &*self.lift {
            // It may be ending by now, and then those who wait for that are not to be served by a task.
            Some(lift) if seen.is_flying() && u32::from(spent) + wasted > u32::from(RENT) => {
                calls.lift = Some(lift.clone());
                calls.native = 0;
                core.word.host();
            }
            Some(_) => {
                let spent = (u32::from(spent) + wasted).min(u32::from(RENT)) as u8;
                core.rent.store(orphaned | spent, Ordering::Relaxed);
            }
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
#[inline]
pub(super) fn notify(flight: &Hold) {
    if flight.core().word.notify() {
        call(flight, flight.core().lock());
    }
}

/// Whoever may drive is to look.
fn call(flight: &Hold, mut state: MutexGuard<'_, State>) {
    // It may be over by now, or somebody has come by: then there are few to be called, or they find nothing to do.
    let calls = state.call(flight.core());
    drop(state);
    calls.make_for(flight);
}

/// A caller goes before its flight is over. `in_seat`: it leads and was never polled, or once and not waited since.
pub(super) fn leave(flight: &Hold, rows: &Rows, waiter: Pin<&Waiter>, stake: Stake, in_seat: bool) {
    let word = &flight.core().word;
    let old = if waiter.is_linked() { flight.core().lock().waiters.remove(waiter) } else { None };
    if stake != Stake::Bystander {
        let returned = in_seat && word.give_back_seat().is_ok();
        match word.leave(stake == Stake::Leader) {
            // Somebody else is to see to the work.
            Left::Nothing if returned => call(flight, flight.core().lock()),
            after => left(flight, rows, after),
        }
    }
    quietly(|| drop(old));
}

/// Nobody may wait any more: then the work is dropped, or goes on in a task of its own if it is detached.
fn left(flight: &Hold, rows: &Rows, left: Left) {
    match left {
        Left::Nothing | Left::EndingLater => {}
        Left::Ending => end(flight, rows),
        Left::Alone => go_on_alone(flight, rows, flight.core().lock()),
    }
}

/// What becomes of a detached flight that nobody waits for.
#[cold]
fn go_on_alone(flight: &Hold, rows: &Rows, state: MutexGuard<'_, State>) {
    let word = &flight.core().word;
    // Whoever polls holds the flight: so nobody does, and it was landed alone (`Hold::land`) by a poll that unwound
    // after that.
    let seen = word.seen();
    if seen.is_hosted() || seen.is_seated() && flight.is_last() {
        return;
    }
    if let Some(lift) = state.lift.clone() {
        word.host();
        drop(state);
        lift.carry(flight.clone());
        return;
    }
    let after = word.end_if_alone();
    drop(state);
    left(flight, rows, after);
}

/// Drops the work, frees the key, and lets in who waited for that. The seat is ours for good.
pub(super) fn end(flight: &Hold, rows: &Rows) {
    // If this is the doing of another flight's work, that flight waits for this destructor.
    let mut link = ring::Link::default();
    let _ = link.refresh(flight);
    ring::within(flight, || {
        flight.unload(true);
        flight.tell_dropped(rows);
    });
    link.cut(flight);
    drop(rows.free(flight));
    flight.core().word.end();
    dismiss(flight);
}

/// The flight has an outcome and its key is free: publishes it and tells everybody. `publish` puts the outcome in place;
/// it is not called, and the answer is `false`, if the driver is the only caller, who may then have the outcome itself,
/// or if there is none at all.
pub(super) fn land(flight: &Hold, driver_is_caller: bool, publish: impl FnOnce()) -> bool {
    let shared = flight.core().word.land(driver_is_caller, publish);
    dismiss(flight);
    shared
}

/// The flight is over: whoever waits is called, and what only a flight in the air needs goes.
fn dismiss(flight: &Hold) {
    let mut state = flight.core().lock();
    let calls = state.dismiss();
    let more = state.more.take();
    let lift = state.lift.take();
    // Who has joined and not been polled since has its own span to link to this one, which then goes with the flight.
    let linked = FlightSpan::IS_ON && flight.core().word.seen().followers() == 0;
    let span = if linked { mem::take(&mut state.span) } else { FlightSpan::default() };
    drop(state);
    calls.make(flight);
    if more.is_some() || lift.is_some() || FlightSpan::IS_ON {
        quietly(|| drop((more, lift, span)));
    }
}

/// The task that carried `flight` was dropped: done, or its runtime died.
#[cfg(all(feature = "tokio", not(loom)))]
pub(super) fn host_is_gone(flight: &Hold, rows: &Rows) {
    let word = &flight.core().word;
    if !word.seen().is_flying() {
        return;
    }
    let mut state = flight.core().lock();
    flight.core().rent.fetch_or(ORPHANED, Ordering::Relaxed);
    let host = state.take_host();
    let lift = state.lift.take();
    let is_idle = word.unhost();
    // Before whoever is called can give it another task.
    match word.end_if_alone() {
        Left::Nothing if is_idle => call(flight, state),
        after => {
            drop(state);
            left(flight, rows, after);
        }
    }
    quietly(|| drop((host, lift)));
}

#[cfg(all(test, feature = "tokio", not(loom)))]
mod tests {
    use std::future::Pending;
    use std::pin::Pin;
    use std::task::Waker;

    use super::{Left, RENT, Waiter};
    use crate::flight::waiters::Side;
    use crate::flight::{Cargo, Open};
    use crate::key::ByEq;

    /// Who waits for a flight to end has nothing to do with its task, and a lone leader has not equipped it for one.
    #[test]
    fn a_late_call_gives_a_flight_that_ends_meanwhile_no_task() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("it can be built");
        let _entered = runtime.enter();
        let cargo = Cargo::<(), (), ByEq>::later::<Pending<()>, Open<()>>();
        let (flight, _row) = cargo.launch(0, 0, None, ());
        let core = flight.core();
        assert!(core.lock().note_runtime(false, || unreachable!("it may not move")));
        assert!(core.word.leave_seat().is_ok() && core.word.notify());
        assert!(matches!(core.word.leave(true), Left::Ending));
        let waiters: Vec<Pin<Box<Waiter>>> =
            (0..RENT + 2).map(|_| Box::pin(Waiter::new())).collect();
        let mut state = core.lock();
        for waiter in &waiters {
            let waker = Waker::noop().clone();
            assert!(state.register(waiter.as_ref(), Side::Native, waker).is_none());
        }
        let calls = state.call(core);
        assert!(calls.lift.is_none() && calls.native == u32::from(RENT) + 2);
        for waiter in &waiters {
            assert!(state.waiters.remove(waiter.as_ref()).is_some());
        }
    }
}
