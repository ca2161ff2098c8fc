//! The task of a batch: it waits until the batch is to go, runs the user's function, and hands out the answers.
//!
//! A batch has one from its first call to its end, and an aggregator without a batch has none. Whatever becomes of
//! the task (the function panics; its runtime is shut down, before the first poll or in the middle), the carrier's
//! `Drop` closes the batch, ends it for whoever waits, and gives the place to the next.

use std::any::{Any, type_name};
use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use tokio::time::{Instant, sleep_until};

use super::answers::Answers;
use super::core::{Batch, Ending, Stage};
use super::error::AggregateError;
use super::slot::Slot;
use crate::error::{Panicked, ReduceError};
use crate::flight::quietly;
use crate::hooks::End;

/// The duty to bring a batch to its end.
pub(crate) struct Carrier<G, T, R, E> {
    batch: Arc<Batch<G, T, R, E>>,
    opened: Instant,
    is_done: bool,
}

impl<G, T, R, E> Carrier<G, T, R, E> {
    /// Tells the hooks how the batch ends, before any of its callers can know.
    fn tell(&self, end: End<'_>) {
        if let Some(watch) = &self.batch.core.watch {
            watch.ended(self.batch.log, self.batch.slots.boarded().saturating_sub(1), end);
        }
    }
}

impl<G, T, R, E> Drop for Carrier<G, T, R, E> {
    fn drop(&mut self) {
        if !self.is_done {
            self.is_done = true;
            self.tell(End::Dropped);
            self.batch.core.release(&self.batch, Ending::Lost).clear();
        }
    }
}

type Fold<T> = fn(Vec<T>) -> (Vec<T>, Vec<usize>);

/// How equal arguments go once: functions that know `T: Eq + Hash + Clone` and `R: Clone` where the carrier does not.
pub(crate) struct Dedupe<T, R> {
    /// The different ones, in order of arrival; and for each argument, which of them it is.
    pub(crate) fold: Fold<T>,
    /// An answer for each argument.
    pub(crate) unfold: fn(Vec<R>, &[usize]) -> Vec<R>,
    pub(crate) clone: fn(&R) -> R,
}

impl<T, R> Clone for Dedupe<T, R> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T, R> Copy for Dedupe<T, R> {}

type Payload = Box<dyn Any + Send>;

/// Runs the user's function where no panic of it escapes: when it is called, polled or dropped.
async fn guarded<F: Future>(future: F) -> Result<F::Output, Payload> {
    let mut future = pin!(Some(future));
    let outcome = poll_fn(|cx| {
        let Some(future) = future.as_mut().as_pin_mut() else {
            return Poll::Pending;
        };
        match catch_unwind(AssertUnwindSafe(|| future.poll(cx))) {
            Ok(poll) => poll.map(Ok),
            Err(payload) => Poll::Ready(Err(payload)),
        }
    })
    .await;
    quietly(|| future.set(None));
    outcome
}

impl<G, T, R, E> Carrier<G, T, R, E> {
    pub(crate) fn new(batch: Arc<Batch<G, T, R, E>>) -> Self {
        Self { batch, opened: Instant::now(), is_done: false }
    }

    /// Waits until the batch has a place. False if everybody has left.
    async fn granted(&self) -> bool {
        let options = &self.batch.options;
        if self.batch.stage() == Stage::Open {
            if !options.leeway.is_zero() {
                // A leeway beyond what the clock can say never ends.
                let Some(end) = self.opened.checked_add(options.leeway) else {
                    return self.granted_unhurried().await;
                };
                let mut sleep = pin!(sleep_until(end));
                let early = poll_fn(|cx| {
                    if let Poll::Ready(stage) = self.batch.poll_stage(cx) {
                        return Poll::Ready(Some(stage));
                    }
                    sleep.as_mut().poll(cx).map(|()| None)
                });
                if let Some(stage) = early.await {
                    return stage == Stage::Granted;
                }
            }
            self.batch.core.due(&self.batch);
        }
        self.granted_unhurried().await
    }

    async fn granted_unhurried(&self) -> bool {
        poll_fn(|cx| self.batch.poll_stage(cx)).await == Stage::Granted
    }

    /// Gives the place back, then ends the batch: who is answered finds the place free.
    fn fail(&mut self, ending: Ending, failure: AggregateError<E>) {
        self.is_done = true;
        match (ending, &failure) {
            (Ending::Answered, _) => self.tell(End::Value(None)),
            (_, AggregateError::Panicked(panicked)) => {
                self.tell(End::Failed(&ReduceError::Panicked(panicked.clone())));
            }
            _ => self.tell(End::Err(None)),
        }
        self.batch.core.release(&self.batch, ending).clear();
        let (_, debris) = self.batch.slots.end(failure);
        debris.clear();
    }

    /// The same for a batch that panicked.
    pub(crate) fn wreck(&mut self, payload: Payload) {
        let name = format!("the batch function of `{}`", type_name::<T>());
        let panicked = Panicked::of_a_batch(name, payload);
        // Those who wait still are counted as such.
        let args = self.batch.core.depart(&self.batch, None);
        quietly(|| drop(args));
        self.fail(Ending::Panicked, AggregateError::Panicked(panicked));
    }

    /// Carries a batch whose function returns its answers.
    pub(crate) async fn carry<A, F, Fut>(mut self, work: F, dedupe: Option<Dedupe<T, R>>)
    where
        G: Clone,
        A: Answers<T, Answer = R, Error = E>,
        F: FnOnce(Vec<T>, G) -> Fut,
        Fut: Future<Output = A>,
    {
        match guarded(self.granted()).await {
            Ok(true) => {}
            Ok(false) => return,
            // A runtime without a clock.
            Err(payload) => return self.wreck(payload),
        }
        let args = self.batch.core.depart(&self.batch, None);
        if args.is_empty() {
            return;
        }
        let begun = catch_unwind(AssertUnwindSafe(|| {
            let (args, owners) = match dedupe {
                Some(Dedupe { fold, .. }) => fold(args),
                None => (args, Vec::new()),
            };
            (A::ask(&args), owners, work(args, self.batch.group.clone()))
        }));
        let (asked, owners, future) = match begun {
            Ok(begun) => begun,
            Err(payload) => return self.wreck(payload),
        };
        let answers = match guarded(future).await {
            Ok(answers) => answers,
            Err(payload) => return self.wreck(payload),
        };
        let dealt = catch_unwind(AssertUnwindSafe(|| {
            let answers = answers.deal(asked)?;
            Ok(match dedupe {
                Some(Dedupe { unfold, .. }) => unfold(answers, &owners),
                None => answers,
            })
        }));
        match dealt {
            Ok(Ok(answers)) => {
                self.is_done = true;
                self.tell(End::Value(None));
                self.batch.core.release(&self.batch, Ending::Answered).clear();
                self.batch.slots.deal(answers);
            }
            Ok(Err(failure)) => self.fail(Ending::Failed, failure),
            Err(payload) => self.wreck(payload),
        }
    }

    /// Carries a batch whose function sets slots.
    pub(crate) async fn carry_slots<F, Fut>(
        mut self,
        work: F,
        dedupe: Option<Dedupe<T, R>>,
        failure: impl FnOnce(Fut::Output) -> Option<E>,
    ) where
        G: Clone + Send + Sync + 'static,
        T: Send + 'static,
        R: Send + 'static,
        E: Send + Sync + 'static,
        F: FnOnce(Vec<Slot<T, R>>, G) -> Fut,
        Fut: Future,
    {
        match guarded(self.granted()).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(payload) => return self.wreck(payload),
        }
        let mut seats = Vec::new();
        let args = self.batch.core.depart(&self.batch, Some(&mut seats));
        if args.is_empty() {
            return;
        }
        let begun = catch_unwind(AssertUnwindSafe(|| {
            let slots = Slot::of(&self.batch, args, &seats, dedupe);
            work(slots, self.batch.group.clone())
        }));
        let future = match begun {
            Ok(future) => future,
            Err(payload) => return self.wreck(payload),
        };
        match guarded(async { failure(future.await) }).await {
            Ok(None) => self.fail(Ending::Answered, AggregateError::NotSet),
            Ok(Some(error)) => self.fail(Ending::Failed, AggregateError::Batch(Arc::new(error))),
            Err(payload) => self.wreck(payload),
        }
    }
}
