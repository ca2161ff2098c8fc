//! The forms that run jobs in the caller's task.

use std::convert::identity;
use std::future::Future;

use futures_core::Stream;

use super::Meter;
use super::drive::{Driver, Here, Items, Launch};
use super::run::Amap;

fn always<T>(_: &T) -> bool {
    true
}

impl Meter {
    fn drive<S, F, O, J>(
        &self,
        input: S,
        job: F,
        is_ok: fn(&O) -> bool,
    ) -> Driver<S, S::Item, Here<F, O>, J>
    where
        S: Stream,
        Here<F, O>: Launch<S::Item, Job = J, Output = O>,
        J: Future<Output = O>,
    {
        Driver::new(&self.gate, input, Here { job, is_ok })
    }

    /// Runs `job` on each of `items`, and drops what it gives.
    ///
    /// Items are taken one by one, as jobs start: never more than one waits outside of its job, so ten million cost
    /// what ten cost.
    ///
    /// # Cancel safety
    /// Dropping the future drops the jobs that run and gives their places back. The item that waited for a place is
    /// dropped with them.
    ///
    /// # Panics
    /// If a job, `job` itself or the iterator panics; the other jobs are dropped. Also outside of a tokio runtime
    /// with its clock enabled, if it has to wait for a start.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reducer_core::Meter;
    /// use std::cell::Cell;
    ///
    /// let sum = Cell::new(0);
    /// Meter::new().max_at_once(10).run_on_each(1..=100, async |n| sum.set(sum.get() + n)).await;
    /// assert_eq!(sum.get(), 5050);
    /// # }
    /// ```
    pub async fn run_on_each<I, F, Fut>(&self, items: I, job: F)
    where
        I: IntoIterator,
        F: FnMut(I::Item) -> Fut,
        Fut: Future,
    {
        self.run_on_each_stream(Items(items.into_iter()), job).await;
    }

    /// As [`run_on_each`](Self::run_on_each), with items as they come.
    ///
    /// # Cancel safety
    /// As [`run_on_each`](Self::run_on_each).
    pub async fn run_on_each_stream<S, F, Fut>(&self, items: S, job: F)
    where
        S: Stream,
        F: FnMut(S::Item) -> Fut,
        Fut: Future,
    {
        self.drive(items, job, always).each().await;
    }

    /// Runs all of `jobs`, and gives their results in the order of the input.
    ///
    /// Where jobs may fail and the others are to go on, this is the form: it gives every `Result`.
    ///
    /// # Cancel safety
    /// As [`run_on_each`](Self::run_on_each); the results so far are lost.
    ///
    /// # Panics
    /// As [`run_on_each`](Self::run_on_each).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reducer_core::Meter;
    ///
    /// async fn square(n: u32) -> u32 {
    ///     n * n
    /// }
    ///
    /// let squares = Meter::new().max_at_once(2).run_all([3, 1, 2].map(square)).await;
    /// assert_eq!(squares, [9, 1, 4]);
    /// # }
    /// ```
    pub async fn run_all<I>(&self, jobs: I) -> Vec<<I::Item as Future>::Output>
    where
        I: IntoIterator<Item: Future>,
    {
        self.run_all_stream(Items(jobs.into_iter())).await
    }

    /// As [`run_all`](Self::run_all), with jobs as they come.
    ///
    /// # Cancel safety
    /// As [`run_all`](Self::run_all).
    pub async fn run_all_stream<S>(&self, jobs: S) -> Vec<<S::Item as Future>::Output>
    where
        S: Stream<Item: Future>,
    {
        self.drive(jobs, identity::<S::Item>, always).all().await
    }

    /// Runs `job` on each of `items`, and streams the results as the jobs end.
    ///
    /// The stream is as lazy as a stream is: jobs start and move only while it is polled. A loop that awaits
    /// something else between two results stops them meanwhile, and they keep their places. Where that matters, take
    /// [`spawned`](Self::spawned). For the index of each item: [`indexed`](Amap::indexed).
    ///
    /// Its `size_hint` is exact if that of `items` is.
    ///
    /// # Cancel safety
    /// Waiting for the next result loses nothing when it is dropped. Dropping the stream drops the jobs that run.
    ///
    /// # Panics
    /// As [`run_on_each`](Self::run_on_each), from `poll_next`. If the panic is caught, the stream goes on with
    /// the other jobs.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use futures_util::StreamExt;
    /// use reducer_core::Meter;
    /// use tokio::time::{Duration, sleep};
    ///
    /// let mut naps = Meter::new().max_at_once(2).amap([30, 10, 40], |ms| async move {
    ///     sleep(Duration::from_millis(ms)).await;
    ///     ms
    /// });
    /// assert_eq!(futures_util::Stream::size_hint(&naps), (3, Some(3)));
    /// assert_eq!(naps.next().await, Some(10));
    /// assert_eq!(naps.collect::<Vec<_>>().await, [30, 40]);
    /// # }
    /// ```
    #[allow(clippy::type_complexity, reason = "nobody has to write it")]
    pub fn amap<I, F, Fut>(
        &self,
        items: I,
        job: F,
    ) -> Amap<Items<I::IntoIter>, I::Item, Here<F, Fut::Output>, Fut>
    where
        I: IntoIterator,
        F: FnMut(I::Item) -> Fut,
        Fut: Future,
    {
        self.amap_stream(Items(items.into_iter()), job)
    }

    /// As [`amap`](Self::amap), with items as they come.
    #[allow(clippy::type_complexity, reason = "nobody has to write it")]
    pub fn amap_stream<S, F, Fut>(
        &self,
        items: S,
        job: F,
    ) -> Amap<S, S::Item, Here<F, Fut::Output>, Fut>
    where
        S: Stream,
        F: FnMut(S::Item) -> Fut,
        Fut: Future,
    {
        Amap(self.drive(items, job, always))
    }

    /// The result of the job that ends first; none if there are no jobs. The others are dropped then and there, and
    /// no more are started.
    ///
    /// # Cancel safety
    /// As [`run_on_each`](Self::run_on_each).
    ///
    /// # Panics
    /// As [`run_on_each`](Self::run_on_each).
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::Meter;
    /// use tokio::time::{Duration, sleep};
    ///
    /// let mirrors = [30, 10, 20].map(|ms| async move {
    ///     sleep(Duration::from_millis(ms)).await;
    ///     ms
    /// });
    /// assert_eq!(Meter::new().run_any(mirrors).await, Some(10));
    /// # }
    /// ```
    pub async fn run_any<I>(&self, jobs: I) -> Option<<I::Item as Future>::Output>
    where
        I: IntoIterator<Item: Future>,
    {
        self.run_any_stream(Items(jobs.into_iter())).await
    }

    /// As [`run_any`](Self::run_any), with jobs as they come.
    ///
    /// # Cancel safety
    /// As [`run_any`](Self::run_any).
    pub async fn run_any_stream<S>(&self, jobs: S) -> Option<<S::Item as Future>::Output>
    where
        S: Stream<Item: Future>,
    {
        self.drive(jobs, identity::<S::Item>, always).any().await
    }

    /// As [`run_all`](Self::run_all), until one fails: then the others are dropped, and no more are started.
    ///
    /// # Cancel safety
    /// As [`run_on_each`](Self::run_on_each); the results so far are lost.
    ///
    /// # Errors
    /// The first one to happen.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reducer_core::Meter;
    ///
    /// let meter = Meter::new().max_at_once(1);
    /// let parse = |text: &'static str| async move { text.parse::<u8>() };
    /// assert_eq!(meter.try_run_all(["1", "2"].map(parse)).await, Ok(vec![1, 2]));
    /// assert!(meter.try_run_all(["1", "two", "3"].map(parse)).await.is_err());
    /// assert_eq!((meter.stats().started, meter.stats().failed), (4, 1));
    /// # }
    /// ```
    pub async fn try_run_all<I, T, E>(&self, jobs: I) -> Result<Vec<T>, E>
    where
        I: IntoIterator<Item: Future<Output = Result<T, E>>>,
    {
        self.try_run_all_stream(Items(jobs.into_iter())).await
    }

    /// As [`try_run_all`](Self::try_run_all), with jobs as they come.
    ///
    /// # Cancel safety
    /// As [`try_run_all`](Self::try_run_all).
    ///
    /// # Errors
    /// The first one to happen.
    pub async fn try_run_all_stream<S, T, E>(&self, jobs: S) -> Result<Vec<T>, E>
    where
        S: Stream<Item: Future<Output = Result<T, E>>>,
    {
        self.drive(jobs, identity::<S::Item>, Result::is_ok).try_all().await
    }

    /// As [`run_on_each`](Self::run_on_each), until one fails: then the others are dropped, and no more are started.
    ///
    /// # Cancel safety
    /// As [`run_on_each`](Self::run_on_each).
    ///
    /// # Errors
    /// The first one to happen.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reducer_core::Meter;
    ///
    /// let check = |n: u32| async move { if n < 3 { Ok(()) } else { Err(n) } };
    /// assert_eq!(Meter::new().max_at_once(1).try_run_on_each(1.., check).await, Err(3));
    /// # }
    /// ```
    pub async fn try_run_on_each<I, F, Fut, T, E>(&self, items: I, job: F) -> Result<(), E>
    where
        I: IntoIterator,
        F: FnMut(I::Item) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.try_run_on_each_stream(Items(items.into_iter()), job).await
    }

    /// As [`try_run_on_each`](Self::try_run_on_each), with items as they come.
    ///
    /// # Cancel safety
    /// As [`run_on_each`](Self::run_on_each).
    ///
    /// # Errors
    /// The first one to happen.
    pub async fn try_run_on_each_stream<S, F, Fut, T, E>(&self, items: S, job: F) -> Result<(), E>
    where
        S: Stream,
        F: FnMut(S::Item) -> Fut,
        Fut: Future<Output = Result<T, E>>,
    {
        self.drive(items, job, Result::is_ok).try_each().await
    }

    /// The value of the first job to succeed. The others are dropped then and there, and no more are started.
    ///
    /// # Cancel safety
    /// As [`run_on_each`](Self::run_on_each); the errors so far are lost.
    ///
    /// # Errors
    /// If none succeeds: every error, in the order of the input; none if there are no jobs.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reducer_core::Meter;
    ///
    /// let meter = Meter::new().max_at_once(1);
    /// let ask = |mirror: u32| async move { if mirror == 2 { Ok("page") } else { Err(mirror) } };
    /// assert_eq!(meter.run_any_ok([1, 2, 3].map(ask)).await, Ok("page"));
    /// assert_eq!(meter.run_any_ok([1, 3].map(ask)).await, Err(vec![1, 3]));
    /// # }
    /// ```
    pub async fn run_any_ok<I, T, E>(&self, jobs: I) -> Result<T, Vec<E>>
    where
        I: IntoIterator<Item: Future<Output = Result<T, E>>>,
    {
        self.run_any_ok_stream(Items(jobs.into_iter())).await
    }

    /// As [`run_any_ok`](Self::run_any_ok), with jobs as they come.
    ///
    /// # Cancel safety
    /// As [`run_any_ok`](Self::run_any_ok).
    ///
    /// # Errors
    /// As [`run_any_ok`](Self::run_any_ok).
    pub async fn run_any_ok_stream<S, T, E>(&self, jobs: S) -> Result<T, Vec<E>>
    where
        S: Stream<Item: Future<Output = Result<T, E>>>,
    {
        self.drive(jobs, identity::<S::Item>, Result::is_ok).any_ok().await
    }
}
