//! Who may start, and who waits: the places, the pace, and two lines in front of them.
//!
//! ```text
//! line ──a place is free──▶ starts ──its time has come──▶ called ──polled──▶ running
//! ```
//!
//! Both lines are first in, first out. Whoever is *called* has a place and a start; if it leaves instead of
//! being polled, both are given back.
//!
//! # Who lets in
//!
//! Nobody in particular. Everyone who comes by with the lock, for whatever reason, calls
//! [`advance`](State::advance), which lets in all whose turn it is. Each waiter in `starts` sleeps until the
//! time that is its own, as far as can be told when it lies down, so that a million of them are no herd: one wakes
//! for each start. A waiter that is not polled holds up nobody: the next timer lets it in, and then whoever owns
//! that timer.
//!
//! # Invariants
//!
//! 1. The places that the word counts are those of `starts`, of `called` and of the jobs that run.
//! 2. If `line` is not empty, no place is free.
//! 3. The first of `starts` has a timer that rings no later than its start is due, or has been woken to set it. The
//!    others' may ring too late, when somebody before them has left or the rate was raised; each is looked
//!    at when it becomes the first.
//!
//! Under the lock there are numbers, maps of ours and the clock. Wakers are cloned before it, and woken and dropped
//! after it.

use std::collections::{BTreeMap, BTreeSet};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use super::pacer::{PER_NANO, Pacer, Ticks, ticks};
use super::timer::{Instant, Sleep, sleep_until};
use crate::flight::quietly;
use crate::sync::{AtomicU64, AtomicUsize, Mutex};

/// What all handles of a meter share.
#[derive(Debug)]
pub(super) struct Gate {
    word: Word,
    /// Of `held`. Changed under the lock.
    limit: AtomicUsize,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    pacer: Pacer,
    clock: Clock,
    /// Wait for a place.
    line: BTreeMap<Ticket, Waiter>,
    /// Have a place and wait for their start.
    starts: BTreeMap<Ticket, Waiter>,
    /// May start, and have been woken to do it.
    called: BTreeSet<Ticket>,
    next_ticket: Ticket,
    /// Whose start was the latest.
    latest: Option<Ticket>,
    /// What the word has had no room for.
    started: u64,
    failed: u64,
}

/// How many places are held and how many jobs have started, changed without the lock as long as nobody has to wait.
///
/// Bit 0 is set by those who hold the lock: then everybody has to take it. It stays set while somebody waits or starts
/// need a clock. Bits 1 to 30 are the places, those above are the starts; when they reach the last bit, somebody has
/// to take the lock as well, and carries them over.
#[derive(Debug)]
struct Word(AtomicU64);

impl Word {
    const LOCKED: u64 = 1;
    const PLACE: u64 = 1 << 1;
    const START: u64 = 1 << 31;
    const FULL: u64 = 1 << 63;
    /// More jobs than fit into any memory.
    const MOST: usize = (1 << 30) - 1;

    fn held(word: u64) -> usize {
        ((word % Self::START) / Self::PLACE) as usize
    }

    /// Changes the word by `by` if nobody has to be asked, and fewer than `limit` places are held.
    #[inline]
    fn change(&self, by: u64, limit: usize) -> bool {
        let mut word = self.0.load(Relaxed);
        loop {
            if word & (Self::LOCKED | Self::FULL) != 0 || Self::held(word) >= limit {
                return false;
            }
            // AcqRel: a place is handed on as a lock would be.
            match self.0.compare_exchange_weak(word, word + by, AcqRel, Relaxed) {
                Ok(_) => return true,
                Err(other) => word = other,
            }
        }
    }
}

type Ticket = u64;

#[derive(Debug)]
struct Waiter {
    /// None if it has been woken since it was last polled.
    waker: Option<Waker>,
    /// Since when it has had a place and waits for its start.
    since: Ticks,
    /// When its timer rings. None if it has yet to set one.
    armed: Option<Ticks>,
}

/// tokio's clock, which may be paused; and one of a runtime that is gone was perhaps ahead of ours.
#[derive(Debug)]
struct Clock {
    origin: Instant,
    latest: Ticks,
}

impl Clock {
    fn at(&self, instant: Instant) -> Ticks {
        match instant.checked_duration_since(self.origin) {
            Some(after) => ticks(after.as_nanos()),
            None => -ticks(self.origin.duration_since(instant).as_nanos()),
        }
    }

    /// Not before `at`.
    fn instant(&self, at: Ticks) -> Instant {
        /// Whoever wakes after a year sleeps again.
        const YEAR: Ticks = 31_536_000 * 1_000_000_000;
        let nanos = at.div_euclid(PER_NANO) + Ticks::from(at.rem_euclid(PER_NANO) > 0);
        let nanos = nanos.min(self.latest / PER_NANO + YEAR);
        let span = |nanos: Ticks| Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX));
        let instant = match nanos {
            0.. => self.origin.checked_add(span(nanos)),
            _ => self.origin.checked_sub(span(-nanos)),
        };
        instant.unwrap_or_else(Instant::now)
    }
}

/// Wakers to be woken when the lock is gone. One at most, most of the time.
#[derive(Default)]
#[must_use]
struct Wakes {
    first: Option<(Ticket, Waker)>,
    rest: Vec<(Ticket, Waker)>,
}

impl Wakes {
    fn add(&mut self, ticket: Ticket, waker: Option<Waker>) {
        let Some(waker) = waker else { return };
        match self.first {
            None => self.first = Some((ticket, waker)),
            Some(_) => self.rest.push((ticket, waker)),
        }
    }

    /// All but the one that has come by itself.
    fn wake_but(self, here: Option<Ticket>) {
        for (ticket, waker) in self.first.into_iter().chain(self.rest) {
            // A waker may panic, and the others are to be woken all the same.
            quietly(|| if Some(ticket) == here { drop(waker) } else { waker.wake() });
        }
    }
}

/// Somebody has the lock.
struct Turn<'a> {
    word: &'a AtomicU64,
    limit: usize,
    state: &'a mut State,
    wakes: &'a mut Wakes,
}

impl Turn<'_> {
    fn has_place(&self) -> bool {
        Word::held(self.word.load(Acquire)) < self.limit
    }

    /// A place and a start, if they are free and nobody waits for them.
    fn enter(&mut self) -> bool {
        let state = &mut *self.state;
        let is_open = state.line.is_empty() && state.starts.is_empty() && self.has_place();
        if !is_open || !self.state.pacer.is_free() && !self.state.start_now() {
            return false;
        }
        self.word.fetch_add(Word::PLACE + Word::START, AcqRel);
        true
    }

    /// Lets in all whose turn it is.
    fn advance(&mut self) {
        while self.has_place() {
            let Some((ticket, mut waiter)) = self.state.line.pop_first() else { break };
            self.word.fetch_add(Word::PLACE, AcqRel);
            // Either way it is woken: to start, or to set its timer.
            self.wakes.add(ticket, waiter.waker.take());
            if self.state.pacer.is_free() && self.state.starts.is_empty() {
                self.state.called.insert(ticket);
            } else {
                waiter.since = self.state.now();
                self.state.starts.insert(ticket, waiter);
            }
        }
        if self.state.starts.is_empty() {
            return;
        }
        let now = self.state.now();
        let State { pacer, starts, called, latest, .. } = &mut *self.state;
        while let Some(mut first) = starts.first_entry() {
            let waiter = first.get_mut();
            match pacer.start(now, waiter.since) {
                Ok(()) => {
                    let (ticket, waiter) = first.remove_entry();
                    *latest = Some(ticket);
                    called.insert(ticket);
                    self.wakes.add(ticket, waiter.waker);
                }
                Err(due) => {
                    if waiter.armed.is_none_or(|armed| armed > due) {
                        let waker = waiter.waker.take();
                        self.wakes.add(*first.key(), waker);
                    }
                    return;
                }
            }
        }
    }

    /// Takes the places that are too many from those who have not started yet, the last first.
    fn send_back(&mut self) {
        while Word::held(self.word.load(Acquire)) > self.limit {
            let (ticket, waiter) = if let Some(last) = self.state.starts.pop_last() {
                last
            } else if let Some(ticket) = self.state.called.pop_last() {
                self.state.give_back_start(ticket);
                // It has been woken, and will see that it has to wait again.
                (ticket, Waiter { waker: None, since: 0, armed: None })
            } else {
                return;
            };
            self.state.line.insert(ticket, waiter);
            self.word.fetch_sub(Word::PLACE, AcqRel);
        }
    }

    /// Whether the ticket has been called; it starts then.
    fn call(&mut self, ticket: Ticket) -> bool {
        let is_called = self.state.called.remove(&ticket);
        if is_called {
            self.word.fetch_add(Word::START, AcqRel);
        }
        is_called
    }

    fn leave(&mut self, ticket: Ticket) -> Option<Waiter> {
        let state = &mut *self.state;
        if let Some(waiter) = state.line.remove(&ticket) {
            return Some(waiter);
        }
        let waiter = state.starts.remove(&ticket);
        if waiter.is_some() || state.called.remove(&ticket) {
            self.word.fetch_sub(Word::PLACE, AcqRel);
        }
        if waiter.is_none() {
            state.give_back_start(ticket);
        }
        waiter
    }
}

impl State {
    fn now(&mut self) -> Ticks {
        let now = self.clock.at(Instant::now());
        if now < self.clock.latest {
            self.pacer.shift_back(self.clock.latest - now);
        }
        self.clock.latest = now;
        now
    }

    fn start_now(&mut self) -> bool {
        let now = self.now();
        let is_started = self.pacer.start(now, now).is_ok();
        if is_started {
            self.latest = None;
        }
        is_started
    }

    /// If nobody has started since.
    fn give_back_start(&mut self, ticket: Ticket) {
        if self.latest == Some(ticket) {
            self.latest = None;
            self.pacer.give_back();
        }
    }

    /// Whether nobody has to take the lock.
    fn is_open(&self) -> bool {
        self.line.is_empty() && self.starts.is_empty() && self.pacer.is_free()
    }

    /// To the end of the line.
    fn queue(&mut self) -> Ticket {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.line.insert(ticket, Waiter { waker: None, since: 0, armed: None });
        ticket
    }

    /// Notes who is to be woken for `ticket`, and tells when its timer is to ring. Gives the old waker back.
    fn wait(&mut self, ticket: Ticket, waker: Waker) -> (Option<Ticks>, Option<Waker>) {
        if let Some(waiter) = self.line.get_mut(&ticket) {
            return (None, waiter.waker.replace(waker));
        }
        let first = self.starts.first_key_value().map_or(ticket, |(first, _)| *first);
        match self.starts.get_mut(&ticket) {
            Some(waiter) => {
                // Those before it are as many or fewer, so it is late at worst: law 3.
                let due = self.pacer.due(waiter.since, ticket - first);
                waiter.armed = Some(due);
                (Some(due), waiter.waker.replace(waker))
            }
            None => (None, Some(waker)),
        }
    }
}

impl Gate {
    pub(super) fn new(tolerance: Duration) -> Self {
        Self {
            word: Word(AtomicU64::new(0)),
            limit: AtomicUsize::new(Word::MOST),
            state: Mutex::new(State {
                pacer: Pacer::new(ticks(tolerance.as_nanos())),
                clock: Clock { origin: Instant::now(), latest: Ticks::MIN },
                line: BTreeMap::new(),
                starts: BTreeMap::new(),
                called: BTreeSet::new(),
                next_ticket: 0,
                latest: None,
                started: 0,
                failed: 0,
            }),
        }
    }

    /// Acts under the lock, and wakes afterwards whoever is let in; but `here` is awake already.
    fn lock<R>(&self, here: Option<Ticket>, act: impl FnOnce(&mut Turn<'_>) -> R) -> R {
        let mut wakes = Wakes::default();
        let mut state = self.state.lock();
        let mut word = self.word.0.fetch_or(Word::LOCKED, AcqRel);
        if word & Word::FULL != 0 {
            // Nobody else adds to the starts from here on.
            word -= word % Word::START;
            self.word.0.fetch_sub(word, AcqRel);
            state.started += word / Word::START;
        }
        let limit = self.limit.load(Relaxed);
        let mut turn = Turn { word: &self.word.0, limit, state: &mut state, wakes: &mut wakes };
        let result = act(&mut turn);
        if state.is_open() {
            self.word.0.fetch_and(!Word::LOCKED, AcqRel);
        }
        drop(state);
        wakes.wake_but(here);
        result
    }

    pub(super) fn set_max_at_once(&self, limit: usize) {
        self.lock(None, |turn| {
            turn.limit = limit.min(Word::MOST);
            self.limit.store(turn.limit, Relaxed);
            turn.send_back();
            turn.advance();
        });
    }

    /// Changes when the next start is due, for those who wait already as well.
    fn set_pace(&self, set: impl FnOnce(&mut State)) {
        self.lock(None, |turn| {
            set(turn.state);
            turn.advance();
        });
    }

    pub(super) fn set_rate(&self, per_second: f64) {
        self.set_pace(|state| {
            let now = state.now();
            state.pacer.set_rate(now, per_second);
        });
    }

    pub(super) fn set_burst(&self, burst: u32) {
        self.set_pace(|state| state.pacer.set_burst(burst));
    }

    pub(super) fn set_tolerance(&self, tolerance: Duration) {
        self.set_pace(|state| state.pacer.set_tolerance(ticks(tolerance.as_nanos())));
    }

    pub(super) fn pause_until(&self, instant: Instant) {
        self.set_pace(|state| {
            let until = state.clock.at(instant);
            // What is over is no pause, and is not to cost a look at the clock.
            let now = state.now();
            if until <= now {
                return;
            }
            state.pacer.pause(until);
            // Who has been called has not started yet. They have been woken, and will see it.
            for ticket in std::mem::take(&mut state.called) {
                state.starts.insert(ticket, Waiter { waker: None, since: now, armed: None });
            }
        });
    }

    pub(super) fn stats(&self) -> super::Stats {
        self.lock(None, |turn| {
            let word = turn.word.load(Acquire);
            let State { started, failed, line, starts, called, .. } = &*turn.state;
            let started = started + word / Word::START;
            let running = (Word::held(word) - starts.len() - called.len()) as u64;
            super::Stats {
                started,
                running,
                finished: started - running - failed,
                failed: *failed,
                waiting: (line.len() + starts.len() + called.len()) as u64,
            }
        })
    }

    /// Whether a new meter of the same limits would do the same.
    pub(super) fn is_idle(&self) -> bool {
        self.lock(None, |turn| {
            let now = turn.state.now();
            Word::held(turn.word.load(Acquire)) == 0
                && turn.state.line.is_empty()
                && turn.state.pacer.is_settled(now)
        })
    }

    /// A place and a start for a job, if there are without waiting. To be given back with `leave`.
    #[inline]
    fn enter(&self) -> bool {
        self.word.change(Word::PLACE + Word::START, self.limit.load(Relaxed)) || self.enter_locked()
    }

    #[cold]
    fn enter_locked(&self) -> bool {
        self.lock(None, |turn| turn.enter())
    }

    pub(super) fn try_enter(self: &Arc<Self>) -> Option<Place> {
        self.enter().then(|| Place::new(self, true))
    }

    /// The job is over.
    #[inline]
    fn leave(&self, is_ok: bool) {
        // Somebody may wait for the place: who comes to wait sets the bit first, and then looks for one.
        if !is_ok || self.word.0.fetch_sub(Word::PLACE, AcqRel) & Word::LOCKED != 0 {
            self.leave_locked(is_ok);
        }
    }

    #[cold]
    fn leave_locked(&self, is_ok: bool) {
        self.lock(None, |turn| {
            if !is_ok {
                turn.state.failed += 1;
                turn.word.fetch_sub(Word::PLACE, AcqRel);
            }
            turn.advance();
        });
    }

    /// The job is over and the next one starts, if nobody has to be asked.
    #[inline]
    fn leave_and_enter(&self) -> bool {
        // One more than the limit, for ours is given back.
        self.word.change(Word::START, self.limit.load(Relaxed) + 1)
    }
}

/// A place for one job after another. Dropped while it is taken, the job has failed.
#[derive(Debug)]
pub(super) struct Place {
    gate: Arc<Gate>,
    is_taken: bool,
}

impl Place {
    fn new(gate: &Arc<Gate>, is_taken: bool) -> Self {
        Self { gate: Arc::clone(gate), is_taken }
    }

    /// The job came to an end.
    #[inline]
    pub(super) fn finish(&mut self, is_ok: bool) {
        self.is_taken = false;
        self.gate.leave(is_ok);
    }

    /// The job came to an end, and the next one starts in its place. If somebody waits for it, or the start has to
    /// wait, nothing has happened: `finish` it.
    #[inline]
    pub(super) fn again(&mut self, is_ok: bool) -> bool {
        is_ok && self.gate.leave_and_enter()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_taken {
            self.gate.leave(false);
        }
    }
}

/// The way in, for one job after another. Whoever drops it leaves the line.
#[derive(Debug)]
pub(super) struct Entrance {
    gate: Arc<Gate>,
    ticket: Option<Ticket>,
    /// Made when there is something to wait for, and then kept.
    timer: Option<Pin<Box<Sleep>>>,
}

impl Entrance {
    pub(super) fn new(gate: Arc<Gate>) -> Self {
        Self { gate, ticket: None, timer: None }
    }

    /// Waits for a place and a start. Takes `spare`, whose job is over, if it can.
    #[inline]
    pub(super) fn poll_enter(
        &mut self,
        cx: &mut Context<'_>,
        spare: &mut Option<Place>,
    ) -> Poll<Place> {
        if self.ticket.is_some() || !self.gate.enter() {
            ready!(self.poll_called(cx));
        }
        Poll::Ready(match spare.take() {
            Some(mut place) => {
                place.is_taken = true;
                place
            }
            None => Place::new(&self.gate, true),
        })
    }

    fn poll_called(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            let waker = cx.waker().clone();
            let gate = Arc::clone(&self.gate);
            let waits = gate.lock(self.ticket, |turn| {
                let ticket = self.ticket.unwrap_or_else(|| turn.state.queue());
                self.ticket = Some(ticket);
                turn.advance();
                if turn.call(ticket) {
                    self.ticket = None;
                    return Err(waker);
                }
                let (due, before) = turn.state.wait(ticket, waker);
                Ok((due.map(|due| turn.state.clock.instant(due)), before))
            });
            let due = match waits {
                Err(waker) => {
                    quietly(|| drop(waker));
                    return Poll::Ready(());
                }
                Ok((due, before)) => {
                    quietly(|| drop(before));
                    due
                }
            };
            let Some(due) = due else { return Poll::Pending };
            if self.timer(due).poll(cx).is_pending() {
                return Poll::Pending;
            }
        }
    }

    fn timer(&mut self, due: Instant) -> Pin<&mut Sleep> {
        match &mut self.timer {
            Some(timer) if timer.deadline() != due => timer.as_mut().reset(due),
            Some(_) => {}
            none => *none = Some(Box::pin(sleep_until(due))),
        }
        self.timer.as_mut().expect("it was made above").as_mut()
    }
}

impl Drop for Entrance {
    fn drop(&mut self) {
        let Some(ticket) = self.ticket else { return };
        let waiter = self.gate.lock(None, |turn| {
            let waiter = turn.leave(ticket);
            turn.advance();
            waiter
        });
        quietly(|| drop(waiter));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn starts_that_the_word_has_no_room_for_are_carried_over() {
        let gate = Gate::new(Duration::ZERO);
        gate.word.0.store(Word::FULL - Word::START, Relaxed);
        for _ in 0..3 {
            assert!(gate.enter());
            gate.leave(true);
        }
        let most = Word::FULL / Word::START;
        let stats = gate.stats();
        assert_eq!((stats.started, stats.finished, stats.running), (most + 2, most + 2, 0));
        assert_eq!(gate.word.0.load(Relaxed) & (Word::FULL | Word::LOCKED), 0);
    }
}
