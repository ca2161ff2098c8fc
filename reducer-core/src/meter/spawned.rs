//! The forms that run jobs as tasks of the runtime.

use std::convert::identity;
use std::future::Future;
use std::panic;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use tokio::task::JoinHandle;

use super::Meter;
use super::drive::{Driver, Items, Launch, Start};
use super::run::Amap;

/// A meter whose jobs run as tasks: [`Meter::spawned`].
///
/// Everything is as with [`Meter`], but that jobs use all threads of the runtime, go on while nobody polls, and give
/// their place back when they end, whether or not their result has been fetched. So they have to be
/// `Send + 'static`, and cost what a task costs.
///
/// Dropping a form aborts its tasks; each gives its place back when it is gone. A job that panics makes its form
/// panic. All forms panic outside of a tokio runtime, and if it is shut down before them.
#[derive(Clone, Debug)]
pub struct Spawned {
    meter: Meter,
}

impl Meter {
    /// The same meter, with jobs that run as tasks.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use futures_util::StreamExt;
    /// use reducer_core::Meter;
    /// use tokio::time::{Duration, Instant, sleep};
    ///
    /// let job = |_| async { sleep(Duration::from_secs(1)).await };
    /// let begin = Instant::now();
    /// let mut jobs = Meter::new().max_at_once(2).spawned().amap(0..2, job);
    /// while jobs.next().await.is_some() {
    ///     sleep(Duration::from_secs(1)).await; // the other job moves meanwhile
    /// }
    /// assert_eq!(begin.elapsed(), Duration::from_secs(3));
    /// # }
    /// ```
    #[must_use]
    pub fn spawned(&self) -> Spawned {
        Spawned { meter: self.clone() }
    }
}

/// As tasks of the runtime.
#[derive(Debug)]
pub struct InTasks<F, O> {
    job: F,
    is_ok: fn(&O) -> bool,
}

impl<T, F, Fut> Launch<T> for InTasks<F, Fut::Output>
where
    F: FnMut(T) -> Fut,
    Fut: Future<Output: Send + 'static> + Send + 'static,
{
    type Job = Task<Fut::Output>;
    type Output = Fut::Output;
    const RUNS_ALONE: bool = true;

    fn launch(&mut self, item: T, start: Start) -> (Self::Job, Option<Start>) {
        let job = (self.job)(item);
        let is_ok = self.is_ok;
        let task = tokio::spawn(async move {
            // Goes after the job, if they are dropped half-way.
            let Start(mut place) = start;
            let output = job.await;
            place.finish(is_ok(&output));
            output
        });
        (Task(task), None)
    }

    fn is_ok(&self, _: &Fut::Output) -> bool {
        true
    }
}

/// A task that is wanted by one.
#[derive(Debug)]
pub struct Task<T>(JoinHandle<T>);

impl<T> Future for Task<T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        match ready!(Pin::new(&mut self.0).poll(cx)) {
            Ok(output) => Poll::Ready(output),
            Err(error) => match error.try_into_panic() {
                Ok(payload) => panic::resume_unwind(payload),
                Err(_) => panic!("the runtime of a spawned job was shut down before its end"),
            },
        }
    }
}

impl<T> Drop for Task<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn always<T>(_: &T) -> bool {
    true
}

impl Spawned {
    fn drive<S, F, O, J>(
        &self,
        input: S,
        job: F,
        is_ok: fn(&O) -> bool,
    ) -> Driver<S, S::Item, InTasks<F, O>, J>
    where
        S: Stream,
        InTasks<F, O>: Launch<S::Item, Job = J, Output = O>,
        J: Future<Output = O>,
    {
        Driver::new(&self.meter.gate, input, InTasks { job, is_ok })
    }

    /// [`Meter::run_on_each`], with tasks.
    pub async fn run_on_each<I, F, Fut>(self, items: I, job: F)
    where
        I: IntoIterator,
        F: FnMut(I::Item) -> Fut,
        Fut: Future<Output: Send + 'static> + Send + 'static,
    {
        self.run_on_each_stream(Items(items.into_iter()), job).await;
    }

    /// [`Meter::run_on_each_stream`], with tasks.
    pub async fn run_on_each_stream<S, F, Fut>(self, items: S, job: F)
    where
        S: Stream,
        F: FnMut(S::Item) -> Fut,
        Fut: Future<Output: Send + 'static> + Send + 'static,
    {
        self.drive(items, job, always).each().await;
    }

    /// [`Meter::run_all`], with tasks.
    pub async fn run_all<I>(self, jobs: I) -> Vec<<I::Item as Future>::Output>
    where
        I: IntoIterator<Item: Future<Output: Send + 'static> + Send + 'static>,
    {
        self.run_all_stream(Items(jobs.into_iter())).await
    }

    /// [`Meter::run_all_stream`], with tasks.
    pub async fn run_all_stream<S>(self, jobs: S) -> Vec<<S::Item as Future>::Output>
    where
        S: Stream<Item: Future<Output: Send + 'static> + Send + 'static>,
    {
        self.drive(jobs, identity::<S::Item>, always).all().await
    }

    /// [`Meter::amap`], with tasks.
    #[allow(clippy::type_complexity, reason = "nobody has to write it")]
    pub fn amap<I, F, Fut>(
        self,
        items: I,
        job: F,
    ) -> Amap<Items<I::IntoIter>, I::Item, InTasks<F, Fut::Output>, Task<Fut::Output>>
    where
        I: IntoIterator,
        F: FnMut(I::Item) -> Fut,
        Fut: Future<Output: Send + 'static> + Send + 'static,
    {
        self.amap_stream(Items(items.into_iter()), job)
    }

    /// [`Meter::amap_stream`], with tasks.
    #[allow(clippy::type_complexity, reason = "nobody has to write it")]
    pub fn amap_stream<S, F, Fut>(
        self,
        items: S,
        job: F,
    ) -> Amap<S, S::Item, InTasks<F, Fut::Output>, Task<Fut::Output>>
    where
        S: Stream,
        F: FnMut(S::Item) -> Fut,
        Fut: Future<Output: Send + 'static> + Send + 'static,
    {
        Amap(self.drive(items, job, always))
    }

    /// [`Meter::run_any`], with tasks.
    pub async fn run_any<I>(self, jobs: I) -> Option<<I::Item as Future>::Output>
    where
        I: IntoIterator<Item: Future<Output: Send + 'static> + Send + 'static>,
    {
        self.run_any_stream(Items(jobs.into_iter())).await
    }

    /// [`Meter::run_any_stream`], with tasks.
    pub async fn run_any_stream<S>(self, jobs: S) -> Option<<S::Item as Future>::Output>
    where
        S: Stream<Item: Future<Output: Send + 'static> + Send + 'static>,
    {
        self.drive(jobs, identity::<S::Item>, always).any().await
    }

    /// [`Meter::try_run_all`], with tasks.
    ///
    /// # Errors
    /// The first one to happen.
    pub async fn try_run_all<I, T, E>(self, jobs: I) -> Result<Vec<T>, E>
    where
        I: IntoIterator<Item: Future<Output = Result<T, E>> + Send + 'static>,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.try_run_all_stream(Items(jobs.into_iter())).await
    }

    /// [`Meter::try_run_all_stream`], with tasks.
    ///
    /// # Errors
    /// The first one to happen.
    pub async fn try_run_all_stream<S, T, E>(self, jobs: S) -> Result<Vec<T>, E>
    where
        S: Stream<Item: Future<Output = Result<T, E>> + Send + 'static>,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.drive(jobs, identity::<S::Item>, Result::is_ok).try_all().await
    }

    /// [`Meter::try_run_on_each`], with tasks.
    ///
    /// # Errors
    /// The first one to happen.
    pub async fn try_run_on_each<I, F, Fut, T, E>(self, items: I, job: F) -> Result<(), E>
    where
        I: IntoIterator,
        F: FnMut(I::Item) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.try_run_on_each_stream(Items(items.into_iter()), job).await
    }

    /// [`Meter::try_run_on_each_stream`], with tasks.
    ///
    /// # Errors
    /// The first one to happen.
    pub async fn try_run_on_each_stream<S, F, Fut, T, E>(self, items: S, job: F) -> Result<(), E>
    where
        S: Stream,
        F: FnMut(S::Item) -> Fut,
        Fut: Future<Output = Result<T, E>> + Send + 'static,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.drive(items, job, Result::is_ok).try_each().await
    }

    /// [`Meter::run_any_ok`], with tasks.
    ///
    /// # Errors
    /// If none succeeds: every error, in the order of the input.
    pub async fn run_any_ok<I, T, E>(self, jobs: I) -> Result<T, Vec<E>>
    where
        I: IntoIterator<Item: Future<Output = Result<T, E>> + Send + 'static>,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.run_any_ok_stream(Items(jobs.into_iter())).await
    }

    /// [`Meter::run_any_ok_stream`], with tasks.
    ///
    /// # Errors
    /// If none succeeds: every error, in the order of the input.
    pub async fn run_any_ok_stream<S, T, E>(self, jobs: S) -> Result<T, Vec<E>>
    where
        S: Stream<Item: Future<Output = Result<T, E>> + Send + 'static>,
        T: Send + 'static,
        E: Send + 'static,
    {
        self.drive(jobs, identity::<S::Item>, Result::is_ok).any_ok().await
    }
}
