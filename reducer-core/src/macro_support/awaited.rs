//! What an attributed call awaits that has not come to a value at once: its flight, in a place that it has from the start.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project_lite::pin_project;

use crate::call::READY;
use crate::error::ReduceError;
use crate::flight::{Outcome, Place, Waiting, either};
use crate::key::parts::Fail;
use crate::reducer::Reducer;

pin_project! {
    /// A stake in a flight, when there is one: an attributed call pins it while there is nothing yet. Gives its value; panics
    /// where `Reducer::reduce` does.
    #[must_use = "futures do nothing unless polled"]
    pub struct Flight<'r, V> {
        #[pin]
        way: Way<'r, V>,
    }
}

pin_project! {
    #[project = WayProjection]
    enum Way<'r, V> {
        None,
        Failed {
            error: Option<ReduceError>,
        },
        Aboard {
            #[pin]
            waiting: Waiting<&'r Reducer, V>,
            // No bound on the type, so that a `V` that cannot be shared is one error and not two.
            poll: PollValue<'r, V>,
        },
        Later {
            call: Pin<Box<dyn Future<Output = Outcome<V>> + Send + 'r>>,
        },
    }
}

type PollValue<'r, V> = fn(
    Pin<&mut Waiting<&'r Reducer, V>>,
    &mut Context<'_>,
    &mut Option<ReduceError>,
) -> Poll<Option<V>>;

/// Where the flight of a call is to lie.
#[inline(always)]
pub fn no_flight<'r, V>() -> Flight<'r, V> {
    Flight { way: Way::None }
}

impl<'r, V> Flight<'r, V> {
    #[inline(always)]
    pub(super) fn aboard(place: &mut Place<&'r Reducer, V>) -> Self
    where
        V: Clone + 'static,
    {
        Self { way: Way::Aboard { waiting: Waiting::of(place), poll: Waiting::poll } }
    }

    /// Which flight that will be is not known before one in the way has ended.
    pub(super) fn later(call: impl Future<Output = Outcome<V>> + Send + 'r) -> Self {
        Self { way: Way::Later { call: Box::pin(call) } }
    }

    pub(super) fn failed(error: ReduceError) -> Self {
        Self { way: Way::Failed { error: Some(error) } }
    }

    /// The value, or none and it has `failed`.
    #[inline(always)]
    pub(super) fn poll_value(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        failed: &mut Option<ReduceError>,
    ) -> Poll<Option<V>> {
        match self.project().way.project() {
            WayProjection::None => panic!("{READY}"),
            WayProjection::Failed { error } => {
                *failed = Some(error.take().expect(READY));
                Poll::Ready(None)
            }
            WayProjection::Aboard { waiting, poll } => poll(waiting, cx, failed),
            WayProjection::Later { call } => {
                let outcome = ready!(call.as_mut().poll(cx));
                Poll::Ready(outcome.map_err(|error| *failed = Some(error)).ok())
            }
        }
    }
}

impl<V> Future for Flight<'_, V> {
    type Output = V;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<V> {
        let mut failed = None;
        let value = ready!(self.poll_value(cx, &mut failed));
        Poll::Ready(either(value, &mut failed).unwrap_or_else(|error| error.raise()))
    }
}

impl<V> fmt::Debug for Flight<'_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flight").finish_non_exhaustive()
    }
}

/// The value; panics, or is made of the error, if there is none.
fn value_or<V>(outcome: Outcome<V>, fail: fn(ReduceError) -> V) -> V {
    match outcome {
        Ok(value) => value,
        Err(error @ ReduceError::Panicked(_)) => error.raise(),
        Err(error) => fail(error),
    }
}

/// The same for a function whose error type can hold a [`ReduceError`]: what would panic is returned, but for the panics of
/// its own work.
#[must_use = "futures do nothing unless polled"]
pub struct Fallible<'f, 'r, V> {
    flight: Pin<&'f mut Flight<'r, V>>,
    // As in `Way::Aboard`.
    fail: fn(ReduceError) -> V,
}

/// Of a flight of `Result<T, E>`, where `E: From<ReduceError>`.
pub fn fallible<'f, 'r, V: Fail>(flight: Pin<&'f mut Flight<'r, V>>) -> Fallible<'f, 'r, V> {
    Fallible { flight, fail: V::fail }
}

impl<V> Future for Fallible<'_, '_, V> {
    type Output = V;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<V> {
        let mut failed = None;
        let value = ready!(self.flight.as_mut().poll_value(cx, &mut failed));
        Poll::Ready(value_or(either(value, &mut failed), self.fail))
    }
}

impl<V> fmt::Debug for Fallible<'_, '_, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fallible").finish_non_exhaustive()
    }
}
