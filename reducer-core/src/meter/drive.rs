//! Jobs from an input, through the gate, to their outputs: what every form of running them has in common.
//!
//! The input is asked for an item only when the one before it has started, so that never more than one waits
//! here; and the way in is asked for only when there is an item, so that no start is spent in vain.

use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use super::gate::{Entrance, Gate, Place};
use super::jobs::{BUDGET, Done, Jobs};

/// How an item becomes a job. Sealed: [`Meter`](super::Meter) and [`Spawned`](super::Spawned) bring theirs.
pub trait Launch<T> {
    /// The job.
    type Job: Future<Output = Self::Output>;
    /// What it gives.
    type Output;

    /// Whether jobs go on though nobody polls.
    #[doc(hidden)]
    const RUNS_ALONE: bool;

    #[doc(hidden)]
    fn launch(&mut self, item: T, place: Start) -> (Self::Job, Option<Start>);

    #[doc(hidden)]
    fn is_ok(&self, output: &Self::Output) -> bool;
}

/// The right to run, on its way to the job.
#[derive(Debug)]
pub struct Start(pub(super) Place);

/// In the task that polls.
#[derive(Debug)]
pub struct Here<F, O> {
    pub(super) job: F,
    pub(super) is_ok: fn(&O) -> bool,
}

impl<T, F, Fut> Launch<T> for Here<F, Fut::Output>
where
    F: FnMut(T) -> Fut,
    Fut: Future,
{
    type Job = Fut;
    type Output = Fut::Output;
    const RUNS_ALONE: bool = false;

    fn launch(&mut self, item: T, place: Start) -> (Fut, Option<Start>) {
        ((self.job)(item), Some(place))
    }

    fn is_ok(&self, output: &Fut::Output) -> bool {
        (self.is_ok)(output)
    }
}

/// An iterator where a stream is wanted.
#[derive(Clone, Debug)]
pub struct Items<I>(pub(super) I);

impl<I> Unpin for Items<I> {}

impl<I: Iterator> Stream for Items<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.0.size_hint()
    }
}

/// Items and jobs are parameters of their own, without bounds: a future that holds `L::Job` is not seen to be `Send` where
/// a lifetime of the items has been erased, as in every spawned `async` block.
pub(super) struct Driver<S, T, L, J> {
    /// Dropped first: the places of our jobs are for others then.
    entrance: Entrance,
    jobs: Jobs<J, Kept>,
    /// None at its end.
    input: Option<Pin<Box<S>>>,
    next: Option<T>,
    launch: L,
    /// A place whose job is over, for the next one.
    spare: Option<Place>,
    /// Whether a job has ended since the latest start.
    has_room: bool,
    /// How many have started.
    count: usize,
}

/// What goes with a job.
struct Kept {
    index: usize,
    /// None if the job has it itself.
    place: Option<Start>,
}

/// Of the job that an item, the `index`th of the input, became.
pub(super) struct Output<T> {
    pub(super) index: usize,
    pub(super) value: T,
}

impl<S, T, L, J> Driver<S, T, L, J>
where
    S: Stream<Item = T>,
    L: Launch<T, Job = J>,
    J: Future<Output = L::Output>,
{
    pub(super) fn new(gate: &Arc<Gate>, input: S, launch: L) -> Self {
        Self {
            jobs: Jobs::new(),
            entrance: Entrance::new(Arc::clone(gate)),
            input: Some(Box::pin(input)),
            next: None,
            launch,
            spare: None,
            has_room: false,
            count: 0,
        }
    }

    pub(super) fn size_hint(&self) -> (usize, Option<usize>) {
        let here = self.jobs.len() + usize::from(self.next.is_some());
        let (least, most) = self.input.as_ref().map_or((0, Some(0)), |input| input.size_hint());
        (least.saturating_add(here), most.and_then(|most| most.checked_add(here)))
    }

    /// The next job to come to its end; none if all have.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>) -> Poll<Option<Output<L::Output>>> {
        let mut budget = BUDGET;
        let done = match self.poll_refill(cx) {
            Poll::Ready(done) => Some(done),
            Poll::Pending => ready!(self.poll_done(cx, &mut budget)),
        };
        let Some(Done { output: value, kept: Kept { index, place } }) = done else {
            return Poll::Ready(None);
        };
        self.has_room = true;
        let is_ok = self.launch.is_ok(&value);
        if let Some(Start(mut place)) = place {
            place.finish(is_ok);
            self.spare = Some(place);
        }
        Poll::Ready(Some(Output { index, value }))
    }

    /// Starts the next job before the next result is looked for, if it goes on by itself: else it would not start as
    /// long as there are results, however long the consumer takes for each.
    fn poll_refill(&mut self, cx: &mut Context<'_>) -> Poll<Done<L::Output, Kept>> {
        if !L::RUNS_ALONE || !mem::take(&mut self.has_room) || !ready!(self.poll_item(cx)) {
            return Poll::Pending;
        }
        let place = ready!(self.entrance.poll_enter(cx, &mut self.spare));
        self.start(place)
    }

    /// Runs all to their end, or until `each` has seen enough. In the place of a job that ends the next one starts, if
    /// nobody waits.
    pub(super) fn poll_all(
        &mut self,
        cx: &mut Context<'_>,
        mut each: impl FnMut(L::Output) -> bool,
    ) -> Poll<()> {
        let mut budget = BUDGET;
        while let Some(mut done) = ready!(self.poll_done(cx, &mut budget)) {
            loop {
                let Done { output, kept: Kept { place, .. } } = done;
                let is_ok = self.launch.is_ok(&output);
                if !each(output) {
                    if let Some(Start(mut place)) = place {
                        place.finish(is_ok);
                    }
                    return Poll::Ready(());
                }
                let Some(Start(mut place)) = place else { break };
                let has_next = budget > 0 && matches!(self.poll_item(cx), Poll::Ready(true));
                if !has_next || !place.again(is_ok) {
                    place.finish(is_ok);
                    self.spare = Some(place);
                    break;
                }
                budget -= 1;
                match self.start(place) {
                    Poll::Ready(next) => done = next,
                    Poll::Pending => break,
                }
            }
        }
        Poll::Ready(())
    }

    fn poll_done(
        &mut self,
        cx: &mut Context<'_>,
        budget: &mut usize,
    ) -> Poll<Option<Done<L::Output, Kept>>> {
        loop {
            if let Poll::Ready(done) = self.jobs.poll_done(budget) {
                return Poll::Ready(Some(done));
            }
            if *budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            match self.poll_item(cx) {
                Poll::Ready(true) => {
                    if let Poll::Ready(place) = self.entrance.poll_enter(cx, &mut self.spare) {
                        *budget -= 1;
                        if let Poll::Ready(done) = self.start(place) {
                            return Poll::Ready(Some(done));
                        }
                        continue;
                    }
                }
                Poll::Ready(false) if self.jobs.len() == 0 => return Poll::Ready(None),
                Poll::Ready(false) | Poll::Pending => {}
            }
            if self.jobs.sleep(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Makes a job of the item that is there, and polls it.
    fn start(&mut self, place: Place) -> Poll<Done<L::Output, Kept>> {
        let item = self.next.take().expect("nobody asks for a place without an item");
        let index = self.count;
        self.count += 1;
        let (job, place) = self.launch.launch(item, Start(place));
        self.jobs.run(job, Kept { index, place })
    }

    /// Sees to it that `next` is there, if there is a next.
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        if self.next.is_some() {
            return Poll::Ready(true);
        }
        let Some(input) = &mut self.input else { return Poll::Ready(false) };
        self.next = ready!(input.as_mut().poll_next(cx));
        if self.next.is_none() {
            self.input = None;
        }
        Poll::Ready(self.next.is_some())
    }
}
