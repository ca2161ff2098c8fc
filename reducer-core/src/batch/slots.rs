//! The slots of one batch: what callers hand over, and where they find their answers.
//!
//! One lock for the batch, held for moves alone: nothing of the user's runs under it. What is displaced (an
//! argument, an answer, a waker) is carried out in [`Debris`], and dropped or woken when the lock is gone.
//!
//! # States of a seat
//! ```text
//! Waiting(argument) ──depart──▶ Sent ──deal, answer──▶ Answered ──poll──▶ Empty
//!      │                         ├──left──▶ Abandoned   keeps its place in the order of the answers
//!      ├──left──▶ Empty          └──end───▶ the batch's failure, for whoever is not Answered
//!      └──end, before it departed──▶ the same
//! ```
//! # Why
//! A caller registers its waker in its own seat, once, and is woken once. A channel per call allocates for
//! each; and tokio's, polled by the hundred under one `join_all`, use up that task's budget and are polled
//! again by all the others: their cost grows with the square of the callers.

use std::task::{Context, Poll, Waker};

use hashbrown::HashTable;

use super::error::AggregateError;
use crate::flight::quietly;
use crate::sync::Mutex;

/// As many seats are made at once; beyond, they grow as a `Vec` does.
const SEATS: usize = 128;

pub(crate) struct Slots<T, R, E>(Mutex<Room<T, R, E>>);

struct Room<T, R, E> {
    seats: Vec<Seat<T, R>>,
    /// Of those `Waiting`.
    waiting: usize,
    /// How many of the waiting have this hash, if equal arguments go once.
    weights: Option<HashTable<(u64, u32)>>,
    /// Final: what everybody gets who has no answer.
    end: Option<AggregateError<E>>,
    /// Who waits for the end of the batch.
    watchers: Vec<Waker>,
}

enum Seat<T, R> {
    Waiting(T, Waker),
    Sent(Waker),
    Answered(R),
    Abandoned,
    Empty,
}

/// What a transition has displaced. To be [`clear`](Self::clear)ed where no lock is held.
#[must_use]
pub(crate) struct Debris<T, R> {
    wakers: Vec<Waker>,
    seats: Vec<Seat<T, R>>,
    answers: Vec<R>,
}

impl<T, R> Debris<T, R> {
    pub(crate) fn new() -> Self {
        Self { wakers: Vec::new(), seats: Vec::new(), answers: Vec::new() }
    }

    /// Wakes who is to be woken and drops the rest. Of the users' destructors and wakers one may panic: the
    /// rest go on.
    pub(crate) fn clear(self) {
        for waker in self.wakers {
            quietly(|| waker.wake());
        }
        for seat in self.seats {
            quietly(|| drop(seat));
        }
        for answer in self.answers {
            quietly(|| drop(answer));
        }
    }
}

/// What a caller was when it left.
#[must_use]
pub(crate) struct Left<T, R> {
    /// Its argument had not departed.
    pub(crate) was_waiting: bool,
    /// Nobody waits any more.
    #[cfg_attr(loom, expect(dead_code, reason = "a model has no table to leave"))]
    pub(crate) is_empty: bool,
    pub(crate) debris: Debris<T, R>,
}

impl<T, R, E> Slots<T, R, E> {
    pub(crate) fn new(expected: usize, weighs: bool) -> Self {
        Self(Mutex::new(Room {
            seats: Vec::with_capacity(expected.min(SEATS)),
            waiting: 0,
            weights: weighs.then(HashTable::new),
            end: None,
            watchers: Vec::new(),
        }))
    }

    /// Takes a seat; gives its number, and the size of the batch. `hash` is the argument's, where that matters.
    pub(crate) fn board(&self, arg: T, hash: u64, waker: Waker) -> (usize, usize) {
        let mut room = self.0.lock();
        room.seats.push(Seat::Waiting(arg, waker));
        room.waiting += 1;
        let size = match &mut room.weights {
            None => room.waiting,
            Some(weights) => {
                weights
                    .entry(hash, |row| row.0 == hash, |row| row.0)
                    .or_insert((hash, 0))
                    .get_mut()
                    .1 += 1;
                weights.len()
            }
        };
        (room.seats.len() - 1, size)
    }

    /// How many have ever taken a seat.
    #[cfg(not(loom))]
    pub(crate) fn boarded(&self) -> usize {
        self.0.lock().seats.len()
    }

    /// Gives up a seat.
    pub(crate) fn leave(&self, seat: usize, hash: u64) -> Left<T, R> {
        let mut room = self.0.lock();
        let mut debris = Debris::<T, R>::new();
        let was_waiting = matches!(room.seats[seat], Seat::Waiting(..));
        let after = if was_waiting { Seat::Empty } else { Seat::Abandoned };
        debris.seats.push(std::mem::replace(&mut room.seats[seat], after));
        if was_waiting {
            room.waiting -= 1;
            if let Some(weights) = &mut room.weights {
                if let Ok(mut row) = weights.find_entry(hash, |row| row.0 == hash) {
                    row.get_mut().1 -= 1;
                    if row.get().1 == 0 {
                        row.remove();
                    }
                }
            }
        }
        Left { was_waiting, is_empty: room.waiting == 0, debris }
    }

    /// Takes the arguments of all who wait, in the order in which they came. Nobody boards from here on. With
    /// `seats`, tells whose each is.
    pub(crate) fn depart(&self, seats: Option<&mut Vec<usize>>) -> Vec<T> {
        let mut room = self.0.lock();
        let mut args = Vec::with_capacity(room.waiting);
        room.waiting = 0;
        let mut numbers = seats;
        for (number, seat) in room.seats.iter_mut().enumerate() {
            match std::mem::replace(seat, Seat::Empty) {
                Seat::Waiting(arg, waker) => {
                    *seat = Seat::Sent(waker);
                    args.push(arg);
                    if let Some(numbers) = &mut numbers {
                        numbers.push(number);
                    }
                }
                other => *seat = other,
            }
        }
        args
    }

    /// Gives everybody who departed an answer, in their order. There are as many.
    pub(crate) fn deal(&self, answers: Vec<R>) {
        let mut debris = Debris::<T, R>::new();
        let mut room = self.0.lock();
        debris.wakers = Vec::with_capacity(answers.len() + room.watchers.len());
        let mut answers = answers.into_iter();
        for seat in &mut room.seats {
            match seat {
                Seat::Sent(_) => {
                    let Some(answer) = answers.next() else { break };
                    if let Seat::Sent(waker) = std::mem::replace(seat, Seat::Answered(answer)) {
                        debris.wakers.push(waker);
                    }
                }
                Seat::Abandoned => debris.answers.extend(answers.next()),
                Seat::Waiting(..) | Seat::Answered(_) | Seat::Empty => {}
            }
        }
        room.end = Some(AggregateError::NotSet);
        debris.wakers.append(&mut room.watchers);
        drop(room);
        debris.answers.extend(answers);
        debris.clear();
    }

    /// Answers one caller. The first answer stands.
    pub(crate) fn answer(&self, seat: usize, answer: R) {
        let mut debris = Debris::<T, R>::new();
        let mut room = self.0.lock();
        match std::mem::replace(&mut room.seats[seat], Seat::Empty) {
            Seat::Sent(waker) if room.end.is_none() => {
                room.seats[seat] = Seat::Answered(answer);
                debris.wakers.push(waker);
            }
            other => {
                room.seats[seat] = other;
                debris.answers.push(answer);
            }
        }
        drop(room);
        debris.clear();
    }

    /// The batch is over, with this for whoever has no answer; the first end stands. Tells how many were waiting still.
    pub(crate) fn end(&self, failure: AggregateError<E>) -> (usize, Debris<T, R>) {
        let mut debris = Debris::<T, R>::new();
        let mut room = self.0.lock();
        let mut waiting = 0;
        if room.end.is_none() {
            room.end = Some(failure);
            waiting = std::mem::take(&mut room.waiting);
            for seat in &mut room.seats {
                match std::mem::replace(seat, Seat::Empty) {
                    Seat::Sent(waker) => debris.wakers.push(waker),
                    // Its argument goes with the debris, its waker is woken here.
                    Seat::Waiting(arg, waker) => {
                        debris.seats.push(Seat::Waiting(arg, Waker::noop().clone()));
                        debris.wakers.push(waker);
                    }
                    other => *seat = other,
                }
            }
            debris.wakers.append(&mut room.watchers);
        }
        (waiting, debris)
    }

    /// The answer of the caller in this seat. Gives it once.
    pub(crate) fn poll(&self, seat: usize, cx: &Context<'_>) -> Poll<Result<R, AggregateError<E>>> {
        // Cloned with no lock held, if it has to be.
        let mut fresh: Option<Waker> = None;
        loop {
            let mut room = self.0.lock();
            let replaced = match &mut room.seats[seat] {
                Seat::Waiting(_, waker) | Seat::Sent(waker) => {
                    if waker.will_wake(cx.waker()) {
                        drop(room);
                        return Poll::Pending;
                    }
                    fresh.take().map(|fresh| std::mem::replace(waker, fresh))
                }
                _ => {
                    let Seat::Answered(answer) =
                        std::mem::replace(&mut room.seats[seat], Seat::Empty)
                    else {
                        let end = room.end.clone().unwrap_or(AggregateError::Closed);
                        return Poll::Ready(Err(end));
                    };
                    return Poll::Ready(Ok(answer));
                }
            };
            drop(room);
            if let Some(replaced) = replaced {
                quietly(|| drop(replaced));
                return Poll::Pending;
            }
            fresh = Some(cx.waker().clone());
        }
    }

    /// Whether the batch is over.
    #[cfg(not(loom))]
    pub(crate) fn poll_end(&self, cx: &Context<'_>) -> Poll<()> {
        let waker = cx.waker().clone();
        let mut room = self.0.lock();
        if room.end.is_some() {
            return Poll::Ready(());
        }
        if !room.watchers.iter().any(|watcher| watcher.will_wake(&waker)) {
            room.watchers.push(waker);
        }
        Poll::Pending
    }
}

/// The way in for the models, which cannot have tokio.
#[cfg(loom)]
pub mod door {
    use std::sync::Arc;
    use std::task::{Context, Poll, Waker};

    use super::Slots;
    use crate::batch::AggregateError;

    /// One batch, without its task.
    #[derive(Clone)]
    pub struct Batch(Arc<Slots<u64, u64, std::convert::Infallible>>);

    impl std::fmt::Debug for Batch {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Batch")
        }
    }

    impl Batch {
        #[allow(clippy::new_without_default, reason = "a door for tests")]
        pub fn new() -> Self {
            Self(Arc::new(Slots::new(2, false)))
        }

        pub fn board(&self, arg: u64, waker: Waker) -> usize {
            self.0.board(arg, 0, waker).0
        }

        /// Whether the argument had not departed.
        pub fn leave(&self, seat: usize) -> bool {
            let left = self.0.leave(seat, 0);
            left.debris.clear();
            left.was_waiting
        }

        pub fn depart(&self) -> Vec<u64> {
            self.0.depart(None)
        }

        pub fn deal(&self, answers: Vec<u64>) {
            self.0.deal(answers);
        }

        pub fn answer(&self, seat: usize, answer: u64) {
            self.0.answer(seat, answer);
        }

        pub fn close(&self) {
            self.0.end(AggregateError::Closed).1.clear();
        }

        pub fn poll(
            &self,
            seat: usize,
            cx: &Context<'_>,
        ) -> Poll<Result<u64, AggregateError<std::convert::Infallible>>> {
            self.0.poll(seat, cx)
        }
    }
}
