//! A caller's side of a flight: the future of whoever leads, follows, or waits for a flight to end.

use std::fmt;
use std::marker::PhantomData;
use std::mem;
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use pin_project_lite::pin_project;

use super::phase::{self, Seat, Stake, Turn};
use super::ring::Link;
use super::trace::WaitSpan;
use super::waiters::Waiter;
use super::{Hold, HoldsRows, Outcome, quietly};
use crate::error::ReduceError;

pin_project! {
    /// A stake in a flight, given up on every way out.
    pub(crate) struct Waiting<R, V>
    where
        R: HoldsRows,
    {
        // `None` once it has been left.
        flight: Option<Hold>,
        rows: R,
        stake: Stake,
        // A leader that has yet to `settle` is in the seat.
        in_seat: bool,
        // Not polled yet, so it stands in no queue.
        new: bool,
        // A thread that parks between polls.
        parks: bool,
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
        fn drop(this: Pin<&mut Self>) {
            this.leave();
        }
    }
}

/// The stake of a leader that has not been polled. It comes from the registry with the seat.
pub(crate) struct Led<R: HoldsRows, V> {
    // `None` once another has the stake, or it is given up.
    flight: Option<Hold>,
    rows: R,
    // Not while a `Seat` has it, which gives it up itself if the poll unwinds.
    in_seat: bool,
    // There is an outcome, and nothing to be left: the state may not say so (`Hold::land`).
    is_over: bool,
    link: Link,
    value: PhantomData<fn() -> V>,
}

impl<R: HoldsRows, V> Led<R, V> {
    /// Of a flight of such values.
    #[inline(always)]
    pub(crate) fn new(flight: Hold, rows: R) -> Self {
        let (flight, link) = (Some(flight), Link::default());
        Self { flight, rows, in_seat: true, is_over: false, link, value: PhantomData }
    }
}

impl<R: HoldsRows + Clone, V: Clone + 'static> Led<R, V> {
    /// The first poll, which for most calls is the only one: nothing is made ready for another. If there will be
    /// one, here is who waits for it, to be put where it stays and then told to `settle`.
    ///
    /// It begins with `first`, in the flight's name: what that calls is called from inside, and if it panics, so has
    /// the work.
    #[inline(always)]
    pub(crate) fn poll(
        mut self,
        first: impl FnOnce(&Hold),
    ) -> Result<Outcome<V>, Waiting<R, V>> {
        let flight = self.flight.as_ref().expect("it is polled once");
        let mut span = WaitSpan::open(flight.core(), Stake::Leader);
        let begun = {
            let _entered = span.enter(flight.core());
            if let Err(ring) = self.link.refresh(flight) {
                return Ok(Err(ReduceError::Reentrant(ring)));
            }
            self.in_seat = false;
            let timeout = self.rows.timeout();
            let begun = Seat::new(flight, self.rows.rows()).begin(|flight| {
                // The clock first: where there is none, nothing is begun.
                if let Some(timeout) = timeout {
                    flight.core().set_clock(timeout);
                }
                first(flight);
            });
            // It is the waiter's from here.
            begun.map_err(Seat::keep)
        };
        if let Ok(outcome) = begun {
            self.is_over = true;
            let outcome = outcome.unwrap_or_else(|| flight.landed());
            self.let_go();
            return Ok(outcome);
        }
        Err(Waiting {
            flight: self.flight.take(),
            rows: self.rows.clone(),
            stake: Stake::Leader,
            in_seat: true,
            new: false,
            parks: false,
            link: mem::take(&mut self.link),
            waiter: Waiter::new(),
            span,
            value: PhantomData,
        })
    }
}

impl<R: HoldsRows, V> Led<R, V> {
    /// With the last caller go the key and the outcome.
    #[inline(always)]
    fn let_go(&mut self) {
        let flight = self.flight.take();
        quietly(|| {
            if let Some(flight) = flight {
                self.link.cut(&flight);
            }
        });
    }

    #[cold]
    fn leave(&mut self) {
        if let (Some(flight), false) = (&self.flight, self.is_over) {
            let waiter = pin!(Waiter::new());
            let (rows, waiter) = (self.rows.rows(), waiter.as_ref());
            phase::leave(flight, rows, waiter, Stake::Leader, self.in_seat);
        }
        self.let_go();
    }
}

impl<R: HoldsRows, V> Drop for Led<R, V> {
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
    /// The stake that the registry entered in `flight` already.
    pub(crate) fn new(flight: Hold, rows: R, stake: Stake) -> Self {
        Self {
            span: WaitSpan::open(flight.core(), stake),
            flight: Some(flight),
            rows,
            stake,
            in_seat: false,
            new: true,
            parks: false,
            link: Link::default(),
            waiter: Waiter::new(),
            value: PhantomData,
        }
    }

    /// The same, for a thread that parks between polls.
    pub(crate) fn parking(mut self) -> Self {
        self.parks = true;
        self
    }

    pub(crate) fn stake(&self) -> Stake {
        self.stake
    }
}

impl<R, V> Waiting<R, V>
where
    R: HoldsRows,
{
    /// Goes before the flight is over.
    fn leave(mut self: Pin<&mut Self>) {
        let this = self.as_mut().project();
        let Some(flight) = &*this.flight else { return };
        let in_seat = mem::take(this.in_seat);
        phase::leave(flight, this.rows.rows(), this.waiter.as_ref(), *this.stake, in_seat);
        self.let_go();
    }

    /// Goes when the flight is over: who landed it, or has seen that it is over, waits in no queue.
    fn let_go(self: Pin<&mut Self>) {
        let this = self.project();
        let flight = this.flight.take();
        // With the last caller go the key and the outcome.
        quietly(|| {
            if let Some(flight) = flight {
                this.link.cut(&flight);
            }
        });
    }

    /// Waits like everybody else, for the next poll of a flight that it has led to here.
    pub(crate) fn settle(self: Pin<&mut Self>, cx: &mut Context<'_>) {
        let this = self.project();
        let flight = this.flight.as_ref().expect("it was polled once");
        *this.in_seat = false;
        Seat::new(flight, this.rows.rows()).give_up(this.waiter.as_ref(), *this.parks, cx);
    }

    /// Ready when the flight is over, and left by then. Drives it when it is this caller's turn.
    #[inline]
    fn poll_over(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mine: &mut Option<Outcome<V>>,
    ) -> Poll<Result<(), ReduceError>>
    where
        V: 'static,
    {
        let this = self.as_mut().project();
        let flight = this.flight.as_ref().expect("a future is not polled after it was ready");
        let _entered = this.span.enter(flight.core());
        if let Err(ring) = this.link.refresh(flight) {
            return Poll::Ready(Err(ReduceError::Reentrant(ring)));
        }
        let waiter = this.waiter.as_ref();
        let new = mem::take(this.new);
        match flight.core().turn(waiter, *this.stake, *this.parks, new, cx) {
            Turn::Over => Poll::Ready(Ok(())),
            Turn::Wait => Poll::Pending,
            Turn::Drive(home) => {
                match Seat::new(flight, this.rows.rows()).drive(Some(mine), home) {
                    None => Poll::Ready(Ok(())),
                    Some(seat) => {
                        seat.give_up(waiter, *this.parks, cx);
                        Poll::Pending
                    }
                }
            }
        }
    }

    /// Waits for the outcome.
    #[inline]
    pub(crate) fn poll_outcome(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome<V>>
    where
        V: Clone + 'static,
    {
        let mut mine = None;
        match self.as_mut().poll_over(cx, &mut mine) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(error)) => {
                self.leave();
                Poll::Ready(Err(error))
            }
            Poll::Ready(Ok(())) => {
                let flight = self.flight.as_ref().expect("it is let go of below");
                let outcome = mine.unwrap_or_else(|| flight.landed());
                self.let_go();
                Poll::Ready(outcome)
            }
        }
    }

    /// Waits for the end of a flight whose callers have all left.
    pub(crate) fn poll_ended(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()>
    where
        V: 'static,
    {
        // A ring ends the wait as well: the registry looks for it again, and starts anew.
        let over = self.as_mut().poll_over(cx, &mut None);
        if over.is_ready() {
            self.leave();
        }
        over.map(drop)
    }
}

impl<R, V> fmt::Debug for Waiting<R, V>
where
    R: HoldsRows,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let flight = self.flight.as_ref().map(|flight| flight.describe());
        f.debug_struct("Waiting").field("flight", &flight).field("stake", &self.stake).finish()
    }
}
