//! What is under a flight's lock: who waits, and what it takes to move; and every way a flight changes, with
//! what all see at once (`word.rs`). See `mod.rs` for the picture.
//!
//! Each transition changes the word or the state, and returns what must now be done without the lock.

use std::mem;
use std::pin::Pin;
use std::sync::Arc;
// Not loom's: what they are for is changed under a lock.
use std::sync::atomic::{AtomicBool, AtomicU8, Ordering};
use std::task::{Context, Waker};

use super::berth::{Aboard, Kit, Seated};
use super::calls::{Calls, Lift};
use super::hold::Count;
use super::home::{HomeCell, arrive};
use super::host::Home;
use super::row::Next;
use super::seldom::Seldom;
use super::trace::FlightSpan;
use super::waiters::{Absent, Side, Stake, Waiter, Waiters};
use super::word::{Left, Seen, ToCall, Word};
use super::{Hold, Rows, Site, quietly, ring};
use crate::sync::{Mutex, MutexGuard, thread};

/// How many wake-ups a shared flight may spend on callers that then find nothing to do, before it moves
/// to a task of its own. A spawned task costs about as much: like any rent-or-buy choice this never costs
/// more than twice the better one.
const RENT: u8 = 16;

/// A task that carried the flight died.
const ORPHANED: u8 = 1 << 7;

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
    home: HomeCell,
    absent: Absent,
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
    /// What a task of its own would need. A flight with one caller gets no task, and is spared the share.
    rows: Seldom<Arc<Rows>>,
    more: Seldom<Box<More>>,
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
            rows: Seldom::default(),
            more: Seldom::default(),
        };
        Self {
            count: Count::two(),
            next: Next::new(),
            kit,
            hash,
            wrap,
            word: Word::new(),
            state: Mutex::new(state),
            home: HomeCell::new(),
            absent: Absent::new(),
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
        let _ = self.lock().settle(self, self.word.seen(), true, false, rows);
    }

    /// Whether nothing needs to be dropped, here, in the berth or in a tail, but for where it is at home. By the last who
    /// holds the flight.
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
            && state.rows.is_none()
            && state.more.is_none()
    }

    /// Drops where it is at home. By the last who holds the flight.
    #[inline(always)]
    #[allow(unsafe_code, reason = "as in home.rs")]
    pub(super) fn raze(&mut self) {
        // SAFETY: nobody else is there.
        if unsafe { self.home.with(|home| home.is_some()) } {
            // It may be all that is left of a runtime.
            // SAFETY: as above.
            quietly(|| unsafe { self.home.with(|home| *home = None) });
        }
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
    pub(crate) fn enlist(&self, waiter: Pin<&Waiter>, rows: &Rows, cx: &mut Context<'_>) -> bool {
        // A waker's clone is its owner's code: not under the lock.
        let waker = cx.waker().clone();
        let mut state = self.lock();
        let mut seen = self.word.seen();
        if seen.is_over() {
            drop(state);
            drop(waker);
            return false;
        }
        if seen.is_away() {
            // Who calls a leader that is away does not see who is in line.
            state.line_up_leader(self);
            seen = self.word.seen();
        }
        let follows = waiter.stake != Stake::Bystander;
        let side = match follows {
            true => state.settle(self, seen, true, waiter.parks, || rows.share()),
            false => state.side(self, seen, waiter.parks),
        };
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
    pub(crate) fn turn(&self, waiter: Pin<&Waiter>, cx: &mut Context<'_>) -> Turn {
        // A leader on its own drives where it would without us.
        if waiter.stake == Stake::Leader && self.word.take_seat_alone() {
            while waiter.is_away() {
                // Who has called us is just taking the waker: a few instructions.
                thread::yield_now();
            }
            return Turn::Drive(None);
        }
        self.turn_among_others(waiter, cx)
    }

    /// A leader that has the seat, and is alone, waits for its work, without the lock. If it cannot, the waker is given back.
    #[inline(always)]
    #[allow(unsafe_code, reason = "goes away")]
    pub(super) fn go_away(&self, waiter: Pin<&Waiter>, waker: Waker) -> Option<Waker> {
        // In line it may be still, if it came before it was called.
        if waiter.is_linked() || !self.word.start_away() {
            return Some(waker);
        }
        // SAFETY: we are going.
        let side = Side::of(unsafe { self.home.with(|home| arrive(home, waiter.parks)) });
        // SAFETY: the seat of a leader, whose waiter is in no line. A `Waiting` recalls it before it lets go of it: see
        // `State::register`.
        unsafe { self.absent.put(waiter, side, waker) };
        if self.word.go_away() {
            return None;
        }
        // SAFETY: it is not away.
        unsafe { self.absent.take() }
    }

    /// A leader is back, if it was away: nobody else comes to its waiter now, unless it is in line. Gives back the waker that
    /// it had, if it has not been called.
    #[cold]
    #[allow(unsafe_code, reason = "ends an absence")]
    fn recall(&self, waiter: Pin<&Waiter>) -> Option<Waker> {
        while waiter.is_away() {
            if self.word.recall() {
                // SAFETY: we have ended it.
                return unsafe { self.absent.take() };
            }
            // Somebody was sooner, and is just taking the waker, or puts it in line: a few instructions.
            thread::yield_now();
        }
        None
    }

    fn turn_among_others(&self, waiter: Pin<&Waiter>, cx: &mut Context<'_>) -> Turn {
        let mut clone = None;
        if waiter.is_away() {
            // First what may panic: a leader in no line is to be away, or in the seat.
            clone = Some(cx.waker().clone());
            let old = self.recall(waiter);
            quietly(|| drop(old));
        }
        loop {
            let mut state = self.lock();
            let seen = self.word.seen();
            if seen.is_over() {
                let old = state.waiters.remove(waiter);
                drop(state);
                drop((old, clone));
                return Turn::Over;
            }
            if waiter.stake != Stake::Bystander && self.word.take_seat() {
                let home = state.with_home(self, seen, |home| home.as_ref()?.for_outsiders());
                drop(state);
                // A panic here would take along the seat, which is nobody's yet.
                if clone.is_some() {
                    quietly(|| drop(clone));
                }
                return Turn::Drive(home);
            }
            let side = state.side(self, seen, waiter.parks);
            if state.waiters.has(waiter, side, cx.waker()) {
                return Turn::Wait;
            }
            if let Some(waker) = clone.take() {
                let old = state.register(waiter, side, waker);
                drop(state);
                drop(old);
                return Turn::Wait;
            }
            drop(state);
            // A waker's clone is its owner's code: not under the lock.
            clone = Some(cx.waker().clone());
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

    /// What `act` makes of where the flight is at home. By one of its callers, or who has the seat, or where several wait; with
    /// the word as it was seen under this lock.
    #[inline]
    #[allow(unsafe_code, reason = "as in home.rs")]
    fn with_home<U>(
        &mut self,
        core: &Core,
        seen: Seen,
        act: impl FnOnce(&mut Option<Home>) -> Option<U>,
    ) -> Option<U> {
        // SAFETY: the lock, and no leader is going. None will be: it is not alone, or it is we.
        if seen.is_going() { None } else { unsafe { core.home.with(act) } }
    }

    /// The queue for a caller that is polled here and now, where the flight is at home from now on if it was nowhere. If it
    /// `may_move`, it has what that takes.
    pub(super) fn settle(
        &mut self,
        core: &Core,
        seen: Seen,
        may_move: bool,
        parks: bool,
        rows: impl FnOnce() -> Arc<Rows>,
    ) -> Side {
        let at_home = self.with_home(core, seen, |home| arrive(home, parks));
        if may_move && at_home.is_some() && self.rows.is_none() {
            *self.rows = Some(rows());
        }
        Side::of(at_home)
    }

    /// The same, and the flight is at home where it was.
    #[inline]
    fn side(&mut self, core: &Core, seen: Seen, parks: bool) -> Side {
        Side::of(self.with_home(core, seen, |home| Some(!parks && home.as_ref()?.is_here())))
    }

    /// A leader that is away is put in line: somebody else has come.
    #[inline(always)]
    #[allow(unsafe_code, reason = "ends an absence")]
    fn line_up_leader(&mut self, core: &Core) {
        if core.word.recall() {
            // SAFETY: we have ended it. As in `register`, for its leader.
            unsafe { core.absent.line_up(&mut self.waiters) };
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
        // nobody else holds it: then the list is gone with the flight. Nobody registers with one that is over. A leader that
        // was away is recalled by `turn` and `leave`, before all that.
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
        let spent = u32::from(spent) + wasted;
        // It may be ending by now, and then those who wait for that are not to be served by a task.
        let may_move = spent > u32::from(RENT) && seen.is_flying();
        calls.lift = if may_move { self.lift(core, seen) } else { None };
        if calls.lift.is_some() {
            calls.native = 0;
            core.word.host();
        } else if wasted > 0 {
            core.rent.store(orphaned | spent.min(u32::from(RENT)) as u8, Ordering::Relaxed);
        }
        self.with_first(calls)
    }

    /// What it takes to give the flight a task of its own, if it may have one.
    #[cold]
    fn lift(&mut self, core: &Core, seen: Seen) -> Option<Lift> {
        let rows = self.rows.clone()?;
        self.with_home(core, seen, |home| Some((home.clone()?, rows)))
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
    match flight.core().word.notify() {
        ToCall::Nobody => {}
        ToCall::Leader => call_leader(flight),
        ToCall::Line => call(flight, flight.core().lock()),
    }
}

/// Of a leader that was away until the word said that we are to call it. There is nobody else, or who has joined
/// meanwhile sees that the work is awake.
#[inline(never)]
#[allow(unsafe_code, reason = "the end of an absence")]
fn call_leader(flight: &Hold) {
    // SAFETY: we have ended it.
    if let Some(waker) = unsafe { flight.core().absent.take() } {
        quietly(|| waker.wake());
    }
}

/// Whoever may drive is to look.
fn call(flight: &Hold, mut state: MutexGuard<'_, State>) {
    // It may be over by now, or somebody has come by: then there are few to be called, or they find nothing to do.
    let calls = state.call(flight.core());
    drop(state);
    calls.make_for(flight);
}

/// A caller goes before its flight is over.
pub(super) fn leave(flight: &Hold, rows: &Rows, waiter: Pin<&Waiter>) {
    let word = &flight.core().word;
    let mut old = if waiter.is_away() { flight.core().recall(waiter) } else { None };
    if waiter.is_linked() {
        old = flight.core().lock().waiters.remove(waiter);
    }
    if waiter.stake != Stake::Bystander {
        let leads = waiter.stake == Stake::Leader;
        let returned = leads && waiter.is_fresh() && word.give_back_seat().is_ok();
        match word.leave(leads) {
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
fn go_on_alone(flight: &Hold, rows: &Rows, mut state: MutexGuard<'_, State>) {
    let word = &flight.core().word;
    // Whoever polls holds the flight: so nobody does, and it was landed alone (`Hold::land`) by a poll that unwound
    // after that.
    let seen = word.seen();
    if seen.is_hosted() || seen.is_seated() && flight.is_last() {
        return;
    }
    if let Some((home, rows)) = state.lift(flight.core(), seen) {
        word.host();
        drop(state);
        home.carry(flight.clone(), rows);
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
    let seen = flight.core().word.seen();
    let lift = (state.rows.take(), state.with_home(flight.core(), seen, Option::take));
    // Who has joined and not been polled since has its own span to link to this one, which then goes with the flight.
    let linked = FlightSpan::IS_ON && seen.followers() == 0;
    let span = if linked { mem::take(&mut state.span) } else { FlightSpan::default() };
    drop(state);
    calls.make(flight);
    if more.is_some() || lift.1.is_some() || FlightSpan::IS_ON {
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
    let lift = (state.rows.take(), state.with_home(flight.core(), word.seen(), Option::take));
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
    use std::hash::Hash;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::task::Waker;

    use super::{Left, RENT, Stake, ToCall, Waiter};
    use crate::flight::waiters::Side;
    use crate::flight::{Cargo, HoldsRows, Open};
    use crate::key::ByEq;
    use crate::reducer::Reducer;

    /// Who waits for a flight to end has nothing to do with its task.
    #[test]
    fn a_late_call_gives_a_flight_that_ends_meanwhile_no_task() {
        let runtime =
            tokio::runtime::Builder::new_current_thread().build().expect("it can be built");
        let _entered = runtime.enter();
        let cargo = Cargo::<(), (), ByEq>::later::<Pending<()>, Open<()>>();
        let (flight, _row) = cargo.launch(0, 0, None, ());
        let core = flight.core();
        let rows = Reducer::new();
        let seen = core.word.seen();
        let side = core.lock().settle(core, seen, true, false, || rows.rows().share());
        assert_eq!(side, Side::Native);
        assert!(core.word.leave_seat().is_ok() && core.word.notify() == ToCall::Line);
        assert!(matches!(core.word.leave(true), Left::Ending));
        let waiters: Vec<Pin<Box<Waiter>>> =
            (0..RENT + 2).map(|_| Box::pin(Waiter::new(Stake::Bystander, false))).collect();
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

    fn holds_of_the_runtime_after<K: Hash + Eq + Send + Sync + 'static>(key: K) -> usize {
        let witness = Arc::new(());
        let kept = Arc::clone(&witness);
        let runtime = tokio::runtime::Builder::new_current_thread()
            .on_thread_park(move || {
                let _ = &kept;
            })
            .build()
            .expect("it can be built");
        let reducer = Reducer::new();
        runtime.block_on(reducer.reduce(key, tokio::task::yield_now()));
        drop((reducer, runtime));
        Arc::strong_count(&witness)
    }

    /// Here, and not beside the others: with tracing, which all features bring, a flight ends otherwise.
    #[test]
    fn a_flight_that_has_waited_keeps_nothing_of_its_runtime() {
        assert_eq!(holds_of_the_runtime_after(1), 1);
        // A key that has to be dropped.
        assert_eq!(holds_of_the_runtime_after(String::from("key")), 1);
    }
}
