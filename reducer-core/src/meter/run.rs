//! The ways to run jobs and to have their outputs, whatever they are launched by.

use std::fmt;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::drive::{Driver, Launch, Output};

/// The results of jobs, in the order in which they end. What [`Meter::amap`](super::Meter::amap) gives.
///
/// Nothing runs unless it is polled. Dropping it drops the jobs that run, and starts no more. Its
/// [`size_hint`](Stream::size_hint) is as exact as that of the input.
#[must_use = "streams do nothing unless polled"]
pub struct Amap<S, T, L, J>(pub(super) Driver<S, T, L, J>);

impl<S, T, L, J> Amap<S, T, L, J> {
    /// With each result, the index of its item in the input.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use futures_util::StreamExt;
    /// use reducer_core::Meter;
    /// use tokio::time::{Duration, sleep};
    ///
    /// let slow_first = |ms| async move { sleep(Duration::from_millis(ms)).await };
    /// let meter = Meter::new().max_at_once(2);
    /// let ends: Vec<_> = meter.amap([20, 10], slow_first).indexed().collect().await;
    /// assert_eq!(ends, [(1, ()), (0, ())]);
    /// # }
    /// ```
    pub fn indexed(self) -> Indexed<S, T, L, J> {
        Indexed(self.0)
    }
}

/// [`Amap`], with the index of each item.
#[must_use = "streams do nothing unless polled"]
pub struct Indexed<S, T, L, J>(Driver<S, T, L, J>);

// Jobs and input are in boxes of their own; nothing here is pinned in place.
impl<S, T, L, J> Unpin for Amap<S, T, L, J> {}
impl<S, T, L, J> Unpin for Indexed<S, T, L, J> {}

impl<S, T, L, J> Stream for Amap<S, T, L, J>
where
    S: Stream<Item = T>,
    L: Launch<T, Job = J>,
    J: Future<Output = L::Output>,
{
    type Item = L::Output;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<L::Output>> {
        self.0.poll_output(cx).map(|output| output.map(|output| output.value))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<S, T, L, J> Stream for Indexed<S, T, L, J>
where
    S: Stream<Item = T>,
    L: Launch<T, Job = J>,
    J: Future<Output = L::Output>,
{
    type Item = (usize, L::Output);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_output(cx).map(|output| output.map(|output| (output.index, output.value)))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

impl<S, T, L, J> fmt::Debug for Amap<S, T, L, J>
where
    S: Stream<Item = T>,
    L: Launch<T, Job = J>,
    J: Future<Output = L::Output>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Amap").field("size_hint", &self.0.size_hint()).finish_non_exhaustive()
    }
}

impl<S, T, L, J> fmt::Debug for Indexed<S, T, L, J>
where
    S: Stream<Item = T>,
    L: Launch<T, Job = J>,
    J: Future<Output = L::Output>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Indexed").field("size_hint", &self.0.size_hint()).finish_non_exhaustive()
    }
}

/// Outputs, each put where its item was in the input.
struct Ordered<T>(Vec<Option<T>>);

impl<T> Ordered<T> {
    fn put(&mut self, Output { index, value }: Output<T>) {
        if index >= self.0.len() {
            self.0.resize_with(index + 1, || None);
        }
        self.0[index] = Some(value);
    }

    fn into_vec(self) -> Vec<T> {
        self.0.into_iter().map(|value| value.expect("every job has come to its end")).collect()
    }
}

impl<S, T, L, J> Driver<S, T, L, J>
where
    S: Stream<Item = T>,
    L: Launch<T, Job = J>,
    J: Future<Output = L::Output>,
{
    async fn output(&mut self) -> Option<Output<L::Output>> {
        poll_fn(|cx| self.poll_output(cx)).await
    }

    pub(super) async fn each(mut self) {
        poll_fn(|cx| self.poll_all(cx, |_| true)).await;
    }

    pub(super) async fn all(mut self) -> Vec<L::Output> {
        let mut outputs = Ordered(Vec::with_capacity(self.size_hint().0.min(1 << 16)));
        while let Some(output) = self.output().await {
            outputs.put(output);
        }
        outputs.into_vec()
    }

    pub(super) async fn any(mut self) -> Option<L::Output> {
        self.output().await.map(|output| output.value)
    }

    pub(super) async fn try_each<V, E>(mut self) -> Result<(), E>
    where
        L: Launch<T, Job = J, Output = Result<V, E>>,
    {
        let mut outcome = Ok(());
        let mut each = |output: Result<V, E>| {
            outcome = output.map(drop);
            outcome.is_ok()
        };
        poll_fn(|cx| self.poll_all(cx, &mut each)).await;
        outcome
    }

    pub(super) async fn try_all<V, E>(mut self) -> Result<Vec<V>, E>
    where
        L: Launch<T, Job = J, Output = Result<V, E>>,
    {
        let mut values = Ordered(Vec::new());
        while let Some(Output { index, value }) = self.output().await {
            values.put(Output { index, value: value? });
        }
        Ok(values.into_vec())
    }

    pub(super) async fn any_ok<V, E>(mut self) -> Result<V, Vec<E>>
    where
        L: Launch<T, Job = J, Output = Result<V, E>>,
    {
        let mut errors = Ordered(Vec::new());
        while let Some(Output { index, value }) = self.output().await {
            match value {
                Ok(value) => return Ok(value),
                Err(value) => errors.put(Output { index, value }),
            }
        }
        Err(errors.into_vec())
    }
}
