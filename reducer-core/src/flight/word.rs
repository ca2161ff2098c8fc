//! What all who hold a flight see and change at the same time: who has the seat, whether the work is awake, how many
//! call, and whether it is over. Each transition is one atomic operation, and says what must now be done.
//!
//! # Why
//! All of it was under the flight's lock. Two of three things that happen to a flight, that its work wakes it and that
//! somebody joins or takes the seat, need nothing else from there. DESIGN.md has the figures.
//!
//! # Orderings
//! What the seat gives right to (the work) goes from one to the next through this word, so whoever gives it up releases
//! and whoever takes it acquires; the same for the outcome, which is written before `OVER` and read after. All
//! transitions do both: they are read-modify-writes, and cost no more for it.

use std::hint;

use crate::sync::{AtomicUsize, Ordering};

/// Somebody is polling the work, or building or dropping it.
const SEATED: usize = 1;
/// The work asked to be polled, and nobody has begun to.
const NOTIFIED: usize = 1 << 1;
/// The leader is one of the callers.
const LEADER: usize = 1 << 2;
/// The work goes on when nobody waits for it.
const DETACHED: usize = 1 << 3;
/// Takes no more followers: how it ends is being told.
const CLOSED: usize = 1 << 4;
/// The last caller left; the work is being dropped. Nobody joins, nobody starts anew.
const ENDING: usize = 1 << 5;
/// It has landed, or was dropped. Final, and so is who has the seat.
const OVER: usize = 1 << 6;
/// There is a task that carries it. Changed under the flight's lock only.
const HOSTED: usize = 1 << 7;
/// The leader has the seat, was the only caller, and is about to be away: see `Absent`, and `home.rs`.
const GOING: usize = 1 << 8;
/// The leader waits, alone until somebody has joined, and in no line: see `Absent`. Nobody has the seat, and the work sleeps.
const AWAY: usize = 1 << 9;
/// One caller. All above count them.
const CALLER: usize = 1 << 10;

/// How often one who has just joined looks whether the poll that is going on ends the flight, before it goes to wait. Not
/// under the models, which would try each.
const SPINS: u32 = if cfg!(loom) { 0 } else { 20 };

/// See the module.
pub(super) struct Word(AtomicUsize);

/// The word as it was at some moment.
#[derive(Clone, Copy)]
pub(super) struct Seen(usize);

impl Seen {
    fn has(self, bits: usize) -> bool {
        self.0 & bits != 0
    }

    pub(super) fn is_seated(self) -> bool {
        self.has(SEATED)
    }

    pub(super) fn is_notified(self) -> bool {
        self.has(NOTIFIED)
    }

    pub(super) fn is_detached(self) -> bool {
        self.has(DETACHED)
    }

    pub(super) fn is_hosted(self) -> bool {
        self.has(HOSTED)
    }

    pub(super) fn is_going(self) -> bool {
        self.has(GOING)
    }

    pub(super) fn is_away(self) -> bool {
        self.has(AWAY)
    }

    pub(super) fn is_over(self) -> bool {
        self.has(OVER)
    }

    pub(super) fn is_flying(self) -> bool {
        !self.has(ENDING | OVER)
    }

    pub(super) fn callers(self) -> usize {
        self.0 / CALLER
    }

    pub(super) fn followers(self) -> usize {
        self.callers() - usize::from(self.has(LEADER))
    }
}

/// What came of an attempt to join.
#[must_use]
#[derive(Debug)]
pub(crate) enum Join {
    Joined,
    Full,
    Ending,
    Over,
}

/// Who is to be told that the work is awake.
#[must_use]
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ToCall {
    /// Whoever has the seat will see it, and whoever was told before and has not come yet, too; or it is over.
    Nobody,
    /// A leader that was away. Its waiter is the caller's now.
    Leader,
    /// Who waits in line.
    Line,
}

/// What it means that a caller has left.
#[must_use]
#[derive(Debug)]
pub(super) enum Left {
    /// There are others, or it is over.
    Nothing,
    /// Nobody is there, and nobody can join. The seat is who left's, for the last of the work.
    Ending,
    /// The same, and whoever is polling will see to it.
    EndingLater,
    /// Nobody is there, but the flight is detached.
    Alone,
}

impl Word {
    /// Of a flight with its leader in the seat.
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self(AtomicUsize::new(SEATED | LEADER | CALLER))
    }

    #[inline(always)]
    pub(super) fn seen(&self) -> Seen {
        Seen(self.0.load(Ordering::Acquire))
    }

    /// Changes it, unless `change` says no; gives what it was before.
    #[inline(always)]
    fn update(&self, mut change: impl FnMut(Seen) -> Option<usize>) -> Result<Seen, Seen> {
        let mut seen = self.0.load(Ordering::Relaxed);
        while let Some(next) = change(Seen(seen)) {
            match self.0.compare_exchange_weak(seen, next, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(Seen(seen)),
                Err(now) => seen = now,
            }
        }
        Err(Seen(seen))
    }

    #[inline(always)]
    fn set(&self, bits: usize) -> Seen {
        Seen(self.0.fetch_or(bits, Ordering::AcqRel))
    }

    pub(super) fn detach(&self) {
        self.set(DETACHED);
    }

    /// From now on there is a task that carries it. Under the flight's lock.
    pub(super) fn host(&self) {
        self.set(HOSTED);
    }

    /// That task is gone, and somebody else is to look at the work. Whether nobody does. Under the flight's lock.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(super) fn unhost(&self) -> bool {
        let (Ok(before) | Err(before)) = self.update(|seen| Some((seen.0 & !HOSTED) | NOTIFIED));
        !before.is_seated()
    }

    pub(super) fn close_to_joins(&self) {
        self.set(CLOSED);
    }

    /// One more follower, if the flight takes any and has fewer than `limit`.
    #[inline(always)]
    pub(super) fn join(&self, limit: usize) -> Join {
        let joined = self.update(|seen| {
            // The count itself is a limit too: callers that are forgotten never leave it.
            let room = seen.followers() < limit && seen.callers() < usize::MAX / CALLER;
            (!seen.has(CLOSED | ENDING | OVER) && room).then(|| seen.0 + CALLER)
        });
        match joined {
            Ok(_) => Join::Joined,
            Err(seen) if seen.has(OVER) => Join::Over,
            Err(seen) if seen.has(ENDING) => Join::Ending,
            Err(seen) if seen.has(CLOSED) => Join::Over,
            Err(_) => Join::Full,
        }
    }

    /// The work asks to be polled.
    #[inline(always)]
    pub(super) fn notify(&self) -> ToCall {
        let (Ok(before) | Err(before)) = self.update(|seen| Some((seen.0 & !AWAY) | NOTIFIED));
        if before.has(SEATED | NOTIFIED | OVER) {
            ToCall::Nobody
        } else if before.is_away() {
            ToCall::Leader
        } else {
            ToCall::Line
        }
    }

    /// Whether it is over while whoever has the seat now has it, and that is for no longer than it takes to go to sleep and
    /// be woken.
    #[inline]
    pub(super) fn is_over_soon(&self) -> bool {
        for _ in 0..SPINS {
            let seen = self.seen();
            if seen.is_over() || !seen.is_seated() {
                return seen.is_over();
            }
            hint::spin_loop();
        }
        false
    }

    /// Takes the seat, if the work wants to be polled and nobody has begun to.
    #[inline(always)]
    pub(super) fn take_seat(&self) -> bool {
        let taken = self.update(|seen| {
            (seen.is_notified() && !seen.is_seated()).then_some((seen.0 | SEATED) & !NOTIFIED)
        });
        taken.is_ok()
    }

    /// The same for a leader, if it is the only caller, and no task has the flight.
    #[inline(always)]
    pub(super) fn take_seat_alone(&self) -> bool {
        self.turn(LEADER | CALLER | NOTIFIED, LEADER | CALLER | SEATED)
    }

    /// A leader that is the only caller, with no task to be told, gives up the seat, if the work wants to be polled again.
    #[inline(always)]
    pub(super) fn leave_seat_alone(&self) -> bool {
        self.turn(LEADER | CALLER | NOTIFIED | SEATED, LEADER | CALLER | NOTIFIED)
    }

    /// The same leader is to be away, if the work sleeps.
    #[inline(always)]
    pub(super) fn start_away(&self) -> bool {
        self.turn(LEADER | CALLER | SEATED, LEADER | CALLER | SEATED | GOING)
    }

    /// It gives up the seat, and is away from here on. Or it is not, for somebody has joined, or the work is awake.
    #[inline(always)]
    pub(super) fn go_away(&self) -> bool {
        let is_away = self.turn(LEADER | CALLER | SEATED | GOING, LEADER | CALLER | AWAY);
        if !is_away {
            let stays = self.update(|seen| Some(seen.0 & !GOING));
            debug_assert!(stays.is_ok_and(Seen::is_going), "nobody else ends that");
        }
        is_away
    }

    /// A leader that is away is back, or put in line. Then its waiter is the caller's. Not if somebody else was sooner.
    #[inline(always)]
    pub(super) fn recall(&self) -> bool {
        self.update(|seen| seen.is_away().then_some(seen.0 & !AWAY)).is_ok()
    }

    #[inline(always)]
    fn turn(&self, from: usize, to: usize) -> bool {
        self.0.load(Ordering::Relaxed) == from
            && self.0.compare_exchange(from, to, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// Gives up the seat. Not if nobody is left, or it is over: then it stays whose it is.
    pub(super) fn leave_seat(&self) -> Result<Seen, Seen> {
        self.update(|seen| seen.is_flying().then_some(seen.0 & !SEATED))
    }

    /// The same by who has not polled the work to the end: it has to be polled again.
    pub(super) fn give_back_seat(&self) -> Result<Seen, Seen> {
        self.update(|seen| seen.is_flying().then_some((seen.0 & !SEATED) | NOTIFIED))
    }

    /// A caller leaves, and the last of them ends the flight, unless it is detached.
    pub(super) fn leave(&self, is_leader: bool) -> Left {
        let bits = CALLER + if is_leader { LEADER } else { 0 };
        let left = self.update(|seen| {
            let left = seen.0 - bits;
            let ends = left < CALLER && Seen(left).is_flying() && !seen.is_detached();
            Some(if ends { left | ENDING | SEATED } else { left })
        });
        let (Ok(before) | Err(before)) = left;
        match before {
            _ if before.callers() > 1 || !before.is_flying() => Left::Nothing,
            _ if before.is_detached() => Left::Alone,
            _ if before.is_seated() => Left::EndingLater,
            _ => Left::Ending,
        }
    }

    /// Ends a detached flight that cannot go on, if still there is nobody, and no task. Under the flight's lock.
    pub(super) fn end_if_alone(&self) -> Left {
        let ended = self.update(|seen| {
            let is_alone = seen.callers() == 0 && !seen.is_hosted();
            (is_alone && seen.is_flying()).then_some(seen.0 | ENDING | SEATED)
        });
        match ended {
            Err(_) => Left::Nothing,
            Ok(before) if before.is_seated() => Left::EndingLater,
            Ok(_) => Left::Ending,
        }
    }

    /// The flight is over, and nobody waits for an outcome. By who has the seat, which stays taken.
    pub(super) fn end(&self) {
        self.set(OVER);
    }

    /// The flight has landed. By who has the seat, which stays taken. `publish` is called first if anybody but the driver
    /// waits for the outcome, which is what it tells.
    #[inline(always)]
    pub(super) fn land(&self, driver_is_caller: bool, publish: impl FnOnce()) -> bool {
        let mut publish = Some(publish);
        let landed = self.update(|seen| {
            if seen.callers() > usize::from(driver_is_caller) {
                // Whoever joins from here on sees it, even if the next line is tried once more.
                if let Some(publish) = publish.take() {
                    publish();
                }
            }
            Some(seen.0 | OVER)
        });
        landed.is_ok() && publish.is_none()
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::{CALLER, Join, LEADER, Left, ToCall, Word};

    fn with_callers(callers: usize) -> Word {
        let word = Word::new();
        word.0.fetch_add((callers - 1) * CALLER, super::Ordering::Relaxed);
        word
    }

    #[test]
    fn a_flight_with_as_many_callers_as_can_be_counted_is_full() {
        let most = usize::MAX / CALLER;
        let word = with_callers(most - 1);
        assert!(matches!(word.join(usize::MAX), Join::Joined));
        assert!(matches!(word.join(usize::MAX), Join::Full));
        assert_eq!((word.seen().callers(), word.seen().followers()), (most, most - 1));
        assert!(word.seen().is_flying() && word.seen().is_seated());
    }

    #[test]
    fn a_leader_that_has_left_makes_no_room_for_a_follower() {
        let word = with_callers(3);
        assert!(matches!(word.join(2), Join::Full));
        assert!(matches!(word.leave(true), Left::Nothing));
        assert!(matches!(word.join(2), Join::Full));
        assert!(matches!(word.leave(false), Left::Nothing));
        assert!(matches!(word.join(2), Join::Joined));
        assert!(!word.seen().has(LEADER));
    }

    #[test]
    fn who_leaves_last_ends_the_flight_or_leaves_that_to_who_polls() {
        let polled = with_callers(1);
        assert!(matches!(polled.leave(true), Left::EndingLater));
        let Err(seen) = polled.leave_seat() else { panic!("the seat is the last one's") };
        assert!(seen.is_seated() && !seen.is_over());

        let waits = with_callers(1);
        assert!(waits.leave_seat().is_ok());
        assert!(matches!(waits.leave(true), Left::Ending));
        assert!(waits.seen().is_seated() && matches!(waits.join(9), Join::Ending));
        waits.end();
        assert!(matches!(waits.join(9), Join::Over));
    }

    #[test]
    fn a_detached_flight_is_joined_when_nobody_waits() {
        let word = with_callers(1);
        word.detach();
        assert!(word.leave_seat().is_ok() && matches!(word.leave(true), Left::Alone));
        assert!(matches!(word.join(9), Join::Joined));
        assert!(matches!(word.end_if_alone(), Left::Nothing));
        assert!(matches!(word.leave(false), Left::Alone));
        assert!(matches!(word.end_if_alone(), Left::Ending));
    }

    #[test]
    fn an_outcome_is_published_if_anybody_but_the_driver_waits() {
        for (callers, driver_is_caller, is_shared) in
            [(1, true, false), (1, false, true), (2, true, true)]
        {
            let (word, mut published) = (with_callers(callers), 0);
            assert_eq!(word.land(driver_is_caller, || published += 1), is_shared);
            assert_eq!(published, usize::from(is_shared));
            assert!(word.seen().is_over() && word.notify() == ToCall::Nobody);
        }
    }

    #[test]
    fn the_seat_goes_to_one_and_only_when_the_work_is_awake() {
        let word = with_callers(2);
        assert!(word.notify() == ToCall::Nobody && !word.take_seat());
        assert!(word.leave_seat().is_ok_and(|before| before.is_notified()));
        // Two call: not for those who are alone.
        assert!(!word.take_seat_alone() && word.take_seat() && !word.take_seat());
        assert!(!word.leave_seat_alone());
        assert!(word.leave_seat().is_ok_and(|before| !before.is_notified()));
        assert!(!word.take_seat());
        assert_eq!((word.notify(), word.notify()), (ToCall::Line, ToCall::Nobody));
    }

    #[test]
    fn a_leader_is_away_until_the_first_who_ends_that() {
        let word = with_callers(1);
        assert!(word.start_away() && word.go_away() && word.seen().is_away());
        assert!(!word.take_seat() && !word.take_seat_alone());
        assert_eq!((word.notify(), word.notify()), (ToCall::Leader, ToCall::Nobody));
        assert!(!word.recall() && word.take_seat_alone());
        // A second time, and somebody joins.
        assert!(word.start_away() && word.go_away() && matches!(word.join(9), Join::Joined));
        assert!(word.recall() && !word.recall() && word.notify() == ToCall::Line);
        // Not among others, nor when the work is awake.
        assert!(word.take_seat() && !word.start_away());
        assert!(matches!(word.leave(false), Left::Nothing) && word.start_away());
        assert!(word.seen().is_going() && word.notify() == ToCall::Nobody && !word.go_away());
        assert!(word.seen().is_seated() && !word.seen().is_going() && !word.start_away());
    }
}
