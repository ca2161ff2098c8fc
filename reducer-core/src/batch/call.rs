//! A call as a future: it arrives at its first poll, and leaves its batch on every way out.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use super::aggregator::Aggregator;
use super::core::{Admission, Asking, Ticket};
use super::error::AggregateError;

/// A place in a batch, given up when it is dropped.
pub(crate) struct Seated<G, T, R, E> {
    ticket: Option<Ticket<G, T, R, E>>,
    hash: u64,
}

impl<G, T, R, E> Seated<G, T, R, E> {
    pub(crate) fn new(ticket: Ticket<G, T, R, E>, hash: u64) -> Self {
        Self { ticket: Some(ticket), hash }
    }

    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Poll<Result<R, AggregateError<E>>> {
        let Some(Ticket { batch, seat }) = &self.ticket else {
            return Poll::Pending;
        };
        let answer = batch.slots.poll(*seat, cx);
        if answer.is_ready() {
            self.ticket = None;
        }
        answer
    }
}

impl<G, T, R, E> Drop for Seated<G, T, R, E> {
    fn drop(&mut self) {
        if let Some(Ticket { batch, seat }) = self.ticket.take() {
            batch.core.leave(&batch, seat, self.hash);
        }
    }
}

/// A call of an [`Aggregator`]; see [`Aggregator::call`].
#[must_use = "a call arrives when it is first polled"]
pub struct AggregateCall<T, R, E> {
    aggregator: Aggregator<T, R, E>,
    state: State<T, R, E>,
}

enum State<T, R, E> {
    New(T),
    Seated(Seated<(), T, R, E>),
    Done,
}

// Nothing of it is ever pinned.
impl<T, R, E> Unpin for AggregateCall<T, R, E> {}

impl<T, R, E> AggregateCall<T, R, E> {
    pub(super) fn new(aggregator: Aggregator<T, R, E>, arg: T) -> Self {
        Self { aggregator, state: State::New(arg) }
    }

    fn arrive(&mut self, arg: T, cx: &Context<'_>) -> Poll<Result<R, AggregateError<E>>> {
        let inner = self.aggregator.inner();
        let hash = inner.mark.map_or(0, |mark| mark(&inner.core.hasher, &arg));
        let asking = Asking { arg, hash, waker: cx.waker().clone() };
        let ticket = match inner.core.admit(&inner.options, None, (), asking) {
            Admission::Joined(ticket) => ticket,
            Admission::Opened(ticket, carrier, handle) => {
                (inner.launch)(carrier, &handle);
                ticket
            }
            Admission::Refused(error) => return Poll::Ready(Err(error)),
        };
        self.state = State::Seated(Seated::new(ticket, hash));
        Poll::Pending
    }
}

impl<T, R, E> Future for AggregateCall<T, R, E> {
    type Output = Result<R, AggregateError<E>>;

    /// # Panics
    /// If it is polled after it was ready.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let answer = match &mut this.state {
            State::Seated(seated) => seated.poll(cx),
            State::New(_) => match std::mem::replace(&mut this.state, State::Done) {
                State::New(arg) => this.arrive(arg, cx),
                _ => unreachable!("it was new a line before"),
            },
            State::Done => panic!("a call was polled after it had its answer"),
        };
        if answer.is_ready() {
            this.state = State::Done;
        }
        answer
    }
}

impl<T, R, E> fmt::Debug for AggregateCall<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = match self.state {
            State::New(_) => "New",
            State::Seated(_) => "Waiting",
            State::Done => "Done",
        };
        f.debug_tuple("Call").field(&state).finish()
    }
}

/// Many calls of an [`Aggregator`]; see [`Aggregator::call_many`].
#[must_use = "calls arrive when they are first polled"]
pub struct AggregateCalls<T, R, E> {
    calls: std::vec::IntoIter<AggregateCall<T, R, E>>,
    /// The first whose answer is not there. All have arrived once there is one.
    next: Option<AggregateCall<T, R, E>>,
    have_arrived: bool,
    early: Vec<Option<Answer<R, E>>>,
    answers: Vec<Answer<R, E>>,
}

type Answer<R, E> = Result<R, AggregateError<E>>;

// Nothing of it is ever pinned.
impl<T, R, E> Unpin for AggregateCalls<T, R, E> {}

impl<T, R, E> AggregateCalls<T, R, E> {
    pub(super) fn new(calls: Vec<AggregateCall<T, R, E>>) -> Self {
        Self {
            answers: Vec::with_capacity(calls.len()),
            calls: calls.into_iter(),
            next: None,
            have_arrived: false,
            early: Vec::new(),
        }
    }
}

impl<T, R, E> Future for AggregateCalls<T, R, E> {
    type Output = Vec<Answer<R, E>>;

    /// Asks for one answer after another, and waits for the first that is missing: however many batches wake it, no
    /// call is looked at more than once for nothing.
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        if !std::mem::replace(&mut this.have_arrived, true) {
            for call in this.calls.as_mut_slice() {
                this.early.push(match Pin::new(call).poll(cx) {
                    Poll::Ready(answer) => Some(answer),
                    Poll::Pending => None,
                });
            }
            this.early.reverse();
        }
        loop {
            if this.next.is_none() {
                let Some(call) = this.calls.next() else {
                    return Poll::Ready(std::mem::take(&mut this.answers));
                };
                if let Some(Some(answer)) = this.early.pop() {
                    this.answers.push(answer);
                    continue;
                }
                this.next = Some(call);
            }
            if let Some(call) = &mut this.next {
                match Pin::new(call).poll(cx) {
                    Poll::Ready(answer) => this.answers.push(answer),
                    Poll::Pending => return Poll::Pending,
                }
            }
            this.next = None;
        }
    }
}

impl<T, R, E> fmt::Debug for AggregateCalls<T, R, E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AggregateCalls")
            .field("answered", &self.answers.len())
            .field("waiting", &(self.calls.len() + usize::from(self.next.is_some())))
            .finish()
    }
}
