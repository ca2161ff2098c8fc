//! A caller's side of a flight: the future of whoever leads, follows, or waits for a flight to end.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::phase::{self, Turn};
use super::ring::{Link, is_inside};
use super::seat::Seat;
use super::seldom::Seldom;
use super::trace::WaitSpan;
use super::waiters::{Stake, Waiter};
use super::{Hold, HoldsRows, begin};
use crate::error::ReduceError;

pin_project! {
    /// A stake in a flight, given up on every way out.
    pub(crate) struct Waiting<R, V>
    where
        R: HoldsRows,
    {
        // `None` once it has been left.
        flight: Seldom<Hold>,
        rows: R,
        link: Link,
        #[pin]
        waiter: Waiter,
        span: WaitSpan,
        value: PhantomData<fn() -> V>,
    }

    impl<R, V> PinnedDrop for Waiting<R, V>
    where
        R: HoldsRows,
    {
        #[inline(always)]
        fn drop(this: Pin<&mut Self>) {
            if this.flight.is_some() {
                this.leave();
            }
        }
    }
}

/// A stake that has not been polled yet, or once. It comes from the registry; a leader's with the seat.
pub(crate) struct Place<R: HoldsRows, V> {
    // `None` once another has the stake, or it is given up.
    flight: Seldom<Hold>,
    rows: R,
    stake: Stake,
    // Not while a `Seat` has it, which gives it up itself if the poll unwinds.
    in_seat: bool,
    // There is an outcome, and nothing to be left: the state may not say so (`Hold::land`).
    is_over: bool,
    // An outcome that is ours alone, or why there is to be none.
    failed: Seldom<ReduceError>,
    link: Link,
    span: WaitSpan,
    value: PhantomData<fn() -> V>,
}

/// What came of a leader's first poll.
pub(crate) enum Led<V> {
    /// The flight has landed, and this is all that it was.
    Value(V),
    /// There is an outcome: see [`Place::came_to`].
    Over,
    /// The stake is to wait.
    Flying,
}

impl<R: HoldsRows, V> Place<R, V> {
    /// In a flight of such values.
    #[inline(always)]
    pub(crate) fn new(flight: Hold, rows: R, stake: Stake) -> Self {
        Self {
            span: WaitSpan::open(flight.core(), stake),
            flight: Some(flight).into(),
            rows,
            stake,
            in_seat: stake == Stake::Leader,
            is_over: false,
            failed: Seldom::default(),
            link: Link::default(),
            value: PhantomData,
        }
    }

    #[inline(always)]
    pub(crate) fn stake(&self) -> Stake {
        self.stake
    }
}

impl<R: HoldsRows, V: Clone + 'static> Place<R, V> {
    /// The first poll of a leader, which for most calls is the only one: nothing is made ready for another.
    ///
    /// It begins with `first`, in the flight's name: what that calls is called from inside, and if it panics, so has
    /// the work.
    #[inline(always)]
    pub(crate) fn lead(&mut self, first: impl FnOnce(&Hold)) -> Led<V> {
        let flight = self.flight.as_ref().expect("it is polled once");
        let rows = self.rows.rows();
        let timeout = self.rows.timeout();
        let mut first = Some(|flight: &Hold| {
            // The clock first: where there is none, nothing is begun.
            if let Some(timeout) = timeout {
                flight.set_clock(timeout);
            }
            first(flight);
        });
        // What comes before the poll may say no, or panic, and the others are to find that the flight has begun.
        if WaitSpan::IS_ON || is_inside() {
            // The edge before that: what the work is built by may call for the flight that we are in.
            let _ = self.link.refresh(flight);
            let first = first.take().expect("it is begun once");
            if begin::<V>(flight, rows, &mut self.failed, first) {
                self.is_over = true;
                return Led::Over;
            }
        }
        let begun = {
            let _entered = self.span.enter(flight.core());
            if let Err(ring) = self.link.refresh(flight) {
                *self.failed = Some(ReduceError::Reentrant(ring));
                return Led::Over;
            }
            self.in_seat = false;
            let begun = Seat::new(flight, rows).drive(None, &mut self.failed, |flight| {
                if let Some(first) = first {
                    first(flight);
                }
            });
            // Before the span is left, which may panic.
            self.in_seat = begun.is_err();
            begun.map_err(Seat::keep)
        };
        let Ok(value) = begun else { return Led::Flying };
        self.is_over = true;
        let Some(value) = value else { return Led::Over };
        self.let_go();
        Led::Value(value)
    }

    /// What there is for a leader who was told that it is `Over`: a value, or none and it has `failed`.
    #[cold]
    pub(crate) fn came_to(&mut self, failed: &mut Option<ReduceError>) -> Option<V> {
        let flight = self.flight.as_ref().expect("it is kept until now");
        *failed = self.failed.take();
        let value = flight.came_to(None, failed);
        if self.is_over {
            self.let_go();
        } else {
            self.leave();
        }
        value
    }
}

impl<R: HoldsRows, V> Place<R, V> {
    /// With the last caller go the key and the outcome.
    #[inline(always)]
    fn let_go(&mut self) {
        if let Some(flight) = self.flight.take() {
            self.link.cut(&flight);
            drop(flight);
        }
    }

    #[cold]
    fn leave(&mut self) {
        if let (Some(flight), false) = (&*self.flight, self.is_over) {
            let waiter = pin!(Waiter::new(self.stake, self.in_seat));
            phase::leave(flight, self.rows.rows(), waiter.as_ref());
        }
        self.let_go();
    }
}

impl<R: HoldsRows, V> Drop for Place<R, V> {
    #[inline(always)]
    fn drop(&mut self) {
        if self.flight.is_some() {
            self.leave();
        }
    }
}

impl<R, V> Waiting<R, V>
where
    R: HoldsRows,
{
    /// The stake of a place, where it can wait. A leader's, that has been polled once, is in the seat until it is told to
    /// `settle`.
    #[inline(always)]
    pub(crate) fn of(place: &mut Place<R, V>) -> Self
    where
        R: Clone,
    {
        // A leader has been polled, and is in the seat; nobody else has been.
        let waiter = Waiter::new(place.stake, true);
        Self {
            flight: place.flight.take().into(),
            rows: place.rows.clone(),
            link: mem::take(&mut place.link),
            waiter,
            span: mem::take(&mut place.span),
            value: PhantomData,
        }
    }

    /// The same, for a thread that parks between polls.
    pub(crate) fn parking(mut self) -> Self {
        self.waiter.parks = true;
        self
    }

    pub(crate) fn stake(&self) -> Stake {
        self.waiter.stake
    }

    /// Goes before the flight is over.
    #[cold]
    fn leave(mut self: Pin<&mut Self>) {
        let this = self.as_mut().project();
        let Some(flight) = &**this.flight else { return };
        phase::leave(flight, this.rows.rows(), this.waiter.as_ref());
        self.let_go();
    }

    /// Goes when the flight is over: who landed it, or has seen that it is over, waits in no queue.
    fn let_go(self: Pin<&mut Self>) {
        let this = self.project();
        // With the last caller go the key and the outcome.
        if let Some(flight) = this.flight.take() {
            this.link.cut(&flight);
            drop(flight);
        }
    }

    /// Waits like everybody else, for the next poll of a flight that it has led to here.
    #[inline(always)]
    pub(crate) fn settle(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.project();
        let flight = this.flight.as_ref().expect(OVER);
        let waiter = this.waiter.as_ref();
        waiter.take_fresh();
        Seat::new(flight, this.rows.rows()).give_up(waiter, cx);
    }

    /// Whether there is nothing for a follower in its first poll but to get in line, as a rule, and it has done so.
    #[inline(always)]
    pub(crate) fn get_in_line(self: Pin<&mut Self>, cx: &mut Context<'_>) -> bool {
        let this = self.project();
        let flight = this.flight.as_ref().expect(OVER);
        let word = &flight.core().word;
        let is_usual = !WaitSpan::IS_ON && !is_inside() && !word.seen().is_seated();
        is_usual && {
            let (waiter, rows) = (this.waiter.as_ref(), this.rows.rows());
            waiter.take_fresh();
            flight.core().enlist(waiter, rows, cx)
        }
    }

    /// Waits for the outcome: the value, or none and it has `failed`. Drives the flight when it is this caller's turn.
    #[inline(always)]
    pub(crate) fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        failed: &mut Option<ReduceError>,
    ) -> Poll<Option<V>>
    where
        V: Clone + 'static,
    {
        let this = self.as_mut().project();
        let flight = this.flight.as_ref().expect(OVER);
        // Who was called and stands in no line needs no lock, and closes no ring.
        if flight.core().word.seen().is_over() && !this.waiter.is_linked() {
            let value = {
                let _entered = this.span.enter(flight.core());
                flight.landed(failed)
            };
            self.let_go();
            return Poll::Ready(value);
        }
        self.poll_flying(cx, failed)
    }

    /// As `poll`, mostly of a flight that has not landed yet.
    fn poll_flying(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        failed: &mut Option<ReduceError>,
    ) -> Poll<Option<V>>
    where
        V: Clone + 'static,
    {
        if self.stake() == Stake::Leader && self.waiter.is_fresh() {
            self.settle(cx);
            return Poll::Pending;
        }
        let this = self.as_mut().project();
        let flight = this.flight.as_ref().expect(OVER);
        let (rows, waiter) = (this.rows.rows(), this.waiter.as_ref());
        let landed = {
            let _entered = this.span.enter(flight.core());
            if let Err(ring) = this.link.refresh(flight) {
                Err(ReduceError::Reentrant(ring))
            } else {
                let is_new = waiter.take_fresh();
                let turn = if is_new && flight.core().word.is_over_soon() {
                    Turn::Over
                } else if is_new && flight.core().enlist(waiter, rows, cx) {
                    Turn::Wait
                } else {
                    flight.core().turn(waiter, cx)
                };
                match turn {
                    Turn::Over => Ok(None),
                    Turn::Wait => return Poll::Pending,
                    // The registry has seen to it that the flight is one of such values.
                    Turn::Drive(home) => {
                        match Seat::new(flight, rows).drive(home, failed, |_| ()) {
                            Ok(value) => Ok(value),
                            Err(seat) => {
                                seat.give_up(waiter, cx);
                                return Poll::Pending;
                            }
                        }
                    }
                }
            }
        };
        match landed {
            Ok(value) => {
                let value = flight.came_to(value, failed);
                self.let_go();
                Poll::Ready(value)
            }
            Err(error) => {
                self.leave();
                *failed = Some(error);
                Poll::Ready(None)
            }
        }
    }

    /// Waits for the end of a flight whose callers have all left.
    pub(crate) fn poll_ended(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = self.as_mut().project();
        let flight = this.flight.as_ref().expect(OVER);
        {
            let _entered = this.span.enter(flight.core());
            // A ring ends the wait as well: the registry looks for it again, and starts anew.
            if this.link.refresh(flight).is_ok() {
                let (waiter, rows) = (this.waiter.as_ref(), this.rows.rows());
                if waiter.take_fresh() && flight.core().enlist(waiter, rows, cx) {
                    return Poll::Pending;
                }
                if let Turn::Wait = flight.core().turn(waiter, cx) {
                    return Poll::Pending;
                }
            }
        }
        self.leave();
        Poll::Ready(())
    }
}

/// What a caller says that is polled once too often.
const OVER: &str = "a future is not polled after it was ready";

impl<R, V> fmt::Debug for Waiting<R, V>
where
    R: HoldsRows,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flight = self.flight.as_ref().map(|flight| flight.describe());
        f.debug_struct("Waiting").field("flight", &flight).field("stake", &self.stake()).finish()
    }
}
