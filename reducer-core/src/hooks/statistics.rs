//! Ready-made counts, of a reducer as a whole and of each function.

use std::collections::HashMap;
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::sharded::Sharded;
use super::{Call, Hooks};
use crate::error::ReduceError;

/// Counts calls and flights. Mirrors `async-reduce`'s hooks of this name.
///
/// Clones share the counts, so keep one and give the other to
/// [`ReducerBuilder::hooks`](crate::ReducerBuilder::hooks). The counts can be read at any time; always
/// `total = executed + reduced`. Reading while calls are under way gives counts of about the same
/// moment.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use reducer_core::{Reducer, StatisticsOverallHooks};
///
/// async fn row(id: u32) -> Result<u32, String> {
///     tokio::task::yield_now().await;
///     if id == 0 { Err("no such row".into()) } else { Ok(id) }
/// }
///
/// let stats = StatisticsOverallHooks::new();
/// let reducer = Reducer::builder().hooks(stats.clone()).build();
/// let _ = tokio::join!(
///     reducer.reduce(1, row(1)),
///     reducer.reduce(1, row(1)),
///     reducer.reduce(2, row(2)),
///     reducer.reduce(0, row(0)),
/// );
/// assert_eq!(stats.to_string(), "Stats(total=4, executed=3, reduced=1, errors=1)");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct StatisticsOverallHooks(Arc<Sharded<Atomics>>);

#[derive(Debug, Default)]
struct Atomics {
    executed: AtomicU64,
    reduced: AtomicU64,
    errors: AtomicU64,
    panics: AtomicU64,
    timeouts: AtomicU64,
    cancelled: AtomicU64,
    refused: AtomicU64,
}

fn add(count: &AtomicU64) {
    // Relaxed: a count stands for nothing else.
    count.fetch_add(1, Ordering::Relaxed);
}

impl StatisticsOverallHooks {
    /// All counts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn sum(&self, count: impl Fn(&Atomics) -> &AtomicU64) -> u64 {
        self.0.each().map(|atomics| count(atomics).load(Ordering::Relaxed)).sum()
    }

    /// Calls, but for those refused.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.executed() + self.reduced()
    }

    /// Calls that led: flights begun.
    #[must_use]
    pub fn executed(&self) -> u64 {
        self.sum(|counts| &counts.executed)
    }

    /// Calls that joined: work saved.
    #[must_use]
    pub fn reduced(&self) -> u64 {
        self.sum(|counts| &counts.reduced)
    }

    /// Flights that came to an `Err`, panicked or took too long.
    #[must_use]
    pub fn errors(&self) -> u64 {
        self.sum(|counts| &counts.errors)
    }

    /// Those of the errors that were panics.
    #[must_use]
    pub fn panics(&self) -> u64 {
        self.sum(|counts| &counts.panics)
    }

    /// Those of the errors that took too long.
    #[must_use]
    pub fn timeouts(&self) -> u64 {
        self.sum(|counts| &counts.timeouts)
    }

    /// Flights dropped because all their callers had left, or their runtime was gone. Not among the errors.
    #[must_use]
    pub fn cancelled(&self) -> u64 {
        self.sum(|counts| &counts.cancelled)
    }

    /// Calls that a full flight turned away. Not in the total.
    #[must_use]
    pub fn refused(&self) -> u64 {
        self.sum(|counts| &counts.refused)
    }
}

impl Hooks for StatisticsOverallHooks {
    fn on_executing(&self, _: &Call<'_>) {
        add(&self.0.here().executed);
    }

    fn on_reducing(&self, _: &Call<'_>) {
        add(&self.0.here().reduced);
    }

    fn on_error(&self, call: &Call<'_>) {
        let counts = self.0.here();
        add(&counts.errors);
        match call.error() {
            Some(ReduceError::Panicked(_)) => add(&counts.panics),
            Some(ReduceError::TimedOut(_)) => add(&counts.timeouts),
            _ => {}
        }
    }

    fn on_cancelled(&self, _: &Call<'_>) {
        add(&self.0.here().cancelled);
    }

    fn on_refused(&self, _: &Call<'_>) {
        add(&self.0.here().refused);
    }

    fn measures(&self) -> bool {
        false
    }

    fn is_harmless(&self) -> bool {
        true
    }
}

impl fmt::Display for StatisticsOverallHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (executed, reduced) = (self.executed(), self.reduced());
        let (total, errors) = (executed + reduced, self.errors());
        write!(f, "Stats(total={total}, executed={executed}, reduced={reduced}, errors={errors})")
    }
}

/// Counts calls and flights of each function. Mirrors `async-reduce`'s hooks of this name.
///
/// Functions are named as by [`Call::function`]. Clones share the counts, which can be read at any time; of each
/// function, `total = executed + reduced`.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use reducer_core::{Reducer, StatisticsDetailHooks};
///
/// async fn page(id: u32) -> u32 { tokio::task::yield_now().await; id }
///
/// let stats = StatisticsDetailHooks::new();
/// let reducer = Reducer::builder().hooks(stats.clone()).build();
/// tokio::join!(reducer.reduce(1, page(1)), reducer.reduce(1, page(1)));
/// let [(name, 1)] = stats.reduced()[..] else { panic!("{stats}") };
/// assert!(name.ends_with("page"), "{name}");
/// # }
/// ```
#[derive(Clone, Debug, Default)]
pub struct StatisticsDetailHooks(Arc<Sharded<Mutex<HashMap<&'static str, Counts>>>>);

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    executed: u64,
    reduced: u64,
    errors: u64,
    cancelled: u64,
}

impl StatisticsDetailHooks {
    /// All counts at zero.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn count(&self, call: &Call<'_>, add: impl Fn(&mut Counts)) {
        add(lock(self.0.here()).entry(call.function()).or_default());
    }

    /// The functions with a count other than zero, the largest first.
    fn ranked(&self, count: impl Fn(&Counts) -> u64) -> Vec<(&'static str, u64)> {
        let mut sums = HashMap::<_, u64>::new();
        for counts in self.0.each() {
            for (function, counts) in &*lock(counts) {
                *sums.entry(*function).or_default() += count(counts);
            }
        }
        let mut ranked: Vec<_> = sums.into_iter().filter(|(_, count)| *count > 0).collect();
        ranked.sort_unstable_by_key(|&(function, count)| (std::cmp::Reverse(count), function));
        ranked
    }

    /// Calls of each function, the largest count first.
    #[must_use]
    pub fn total(&self) -> Vec<(&'static str, u64)> {
        self.ranked(|counts| counts.executed + counts.reduced)
    }

    /// Calls that led.
    #[must_use]
    pub fn executed(&self) -> Vec<(&'static str, u64)> {
        self.ranked(|counts| counts.executed)
    }

    /// Calls that joined.
    #[must_use]
    pub fn reduced(&self) -> Vec<(&'static str, u64)> {
        self.ranked(|counts| counts.reduced)
    }

    /// Flights that came to an `Err`, panicked or took too long.
    #[must_use]
    pub fn errors(&self) -> Vec<(&'static str, u64)> {
        self.ranked(|counts| counts.errors)
    }

    /// Flights dropped because all their callers had left, or their runtime was gone.
    #[must_use]
    pub fn cancelled(&self) -> Vec<(&'static str, u64)> {
        self.ranked(|counts| counts.cancelled)
    }
}

/// Nothing is half-counted: a panic cannot leave the map in pieces.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Hooks for StatisticsDetailHooks {
    fn on_executing(&self, call: &Call<'_>) {
        self.count(call, |counts| counts.executed += 1);
    }

    fn on_reducing(&self, call: &Call<'_>) {
        self.count(call, |counts| counts.reduced += 1);
    }

    fn on_error(&self, call: &Call<'_>) {
        self.count(call, |counts| counts.errors += 1);
    }

    fn on_cancelled(&self, call: &Call<'_>) {
        self.count(call, |counts| counts.cancelled += 1);
    }

    fn measures(&self) -> bool {
        false
    }

    fn is_harmless(&self) -> bool {
        true
    }
}

impl fmt::Display for StatisticsDetailHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sections = [
            ("total", self.total()),
            ("executed", self.executed()),
            ("reduced", self.reduced()),
            ("errors", self.errors()),
        ];
        for (name, ranked) in sections {
            writeln!(f, "Top {name}:")?;
            for (function, count) in ranked {
                writeln!(f, "\t{function}: {count}")?;
            }
        }
        Ok(())
    }
}
