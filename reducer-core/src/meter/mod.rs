//! Many jobs, inside the limits that a back end can take.
//!
//! # Laws
//!
//! 1. Never more than `max_at_once` run, and that many whenever there is work.
//! 2. Starts keep the asked rate, first in first out, and never more than the burst and what was owed happen at
//!    once.
//! 3. A place is taken before the rate is spent; both are given back on every way out.
//! 4. Limits that are none are refused by name.
//! 5. Clones are one meter.
//! 6. tokio's clock is the clock, paused or not.
//!
//! # Rooms
//!
//! | file | what |
//! |---|---|
//! | `pacer.rs` | when the next start may be: arithmetic (law 2) |
//! | `timer.rs` | tokio's clock, apart for the models |
//! | `gate.rs` | places, and the lines in front of them: all that is shared (laws 1, 3, 5) |
//! | `jobs.rs` | futures side by side in one task |
//! | `drive.rs` | input → gate → job → output |
//! | `run.rs` | what becomes of the outputs |
//! | `here.rs`, `spawned.rs` | the public forms: in the caller's task, or in tasks of their own |
//! | `keyed.rs` | a meter for each key |

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

mod gate;
mod pacer;
mod timer;

#[cfg(not(loom))]
mod drive;
#[cfg(not(loom))]
mod here;
#[cfg(not(loom))]
mod jobs;
#[cfg(not(loom))]
mod keyed;
#[cfg(not(loom))]
mod run;
#[cfg(not(loom))]
mod spawned;

#[cfg(not(loom))]
pub use drive::{Here, Items};
use gate::{Entrance, Gate, Place};
#[cfg(not(loom))]
pub use keyed::KeyedMeter;
#[cfg(not(loom))]
pub use run::{Amap, Indexed};
#[cfg(not(loom))]
pub use spawned::{InTasks, Spawned};
use timer::Instant;

/// How late the schedule may lie behind by default: some ticks of tokio's clock.
const CATCH_UP: Duration = Duration::from_millis(5);

#[doc = include_str!("meter.md")]
#[derive(Clone)]
pub struct Meter {
    gate: Arc<Gate>,
}

impl Meter {
    /// A meter without limits, which [`max_at_once`](Self::max_at_once) and
    /// [`max_per_second`](Self::max_per_second) set. It counts even so: [`stats`](Self::stats).
    #[must_use]
    pub fn new() -> Self {
        Self { gate: Arc::new(Gate::new(CATCH_UP)) }
    }

    /// A meter for each key, made by `make` when the key is first asked for, and dropped when it is idle.
    ///
    /// # Examples
    /// One host is never asked for more than two pages at once, all hosts together for no more than eight:
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::Meter;
    ///
    /// let hosts = Meter::keyed(|_: &&str| Meter::new().max_at_once(2));
    /// let pages = [("a.org", 1), ("b.org", 1), ("a.org", 2), ("a.org", 3)];
    /// Meter::new()
    ///     .max_at_once(8)
    ///     .run_on_each(pages, async |(host, _page)| {
    ///         let _permit = hosts.acquire(host).await;
    ///         assert!(hosts.get(host).stats().running <= 2);
    ///         tokio::task::yield_now().await; // a round trip
    ///     })
    ///     .await;
    /// assert_eq!(hosts.len(), 0);
    /// # }
    /// ```
    #[cfg(not(loom))]
    pub fn keyed<K>(make: impl Fn(&K) -> Meter + Send + Sync + 'static) -> KeyedMeter<K> {
        KeyedMeter::new(Box::new(make))
    }

    /// No more than `limit` jobs at once. Default: no limit.
    ///
    /// # Panics
    /// If `limit` is zero: nothing would ever run.
    #[must_use = "it gives the meter back"]
    #[track_caller]
    pub fn max_at_once(self, limit: usize) -> Self {
        self.set_max_at_once(limit);
        self
    }

    /// No more than `rate` starts a second, evenly spread: at 5.0 one every 200 ms. Default: no limit.
    ///
    /// Any rate works, `0.2` too. Starts that a late timer has held up are made up for, so that 1,000 are 1,000 though
    /// tokio's clock ticks in milliseconds; see [`catch_up`](Self::catch_up).
    ///
    /// # Panics
    /// If `rate` is zero, negative, infinite or NaN.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::Meter;
    /// use tokio::time::Instant;
    ///
    /// let begin = Instant::now();
    /// let start = |_| async move { begin.elapsed().as_millis() };
    /// let starts = Meter::new().max_per_second(5.0).run_all((0..3).map(start)).await;
    /// assert_eq!(starts, [0, 200, 400]);
    /// # }
    /// ```
    #[must_use = "it gives the meter back"]
    #[track_caller]
    pub fn max_per_second(self, rate: f64) -> Self {
        self.set_max_per_second(rate);
        self
    }

    /// How many starts may happen at once after a quiet while. Default: 1.
    ///
    /// Only matters together with [`max_per_second`](Self::max_per_second), whose rate is kept in the long run: what
    /// is started at once has been saved up before, one start a period.
    ///
    /// # Panics
    /// If `starts` is zero.
    #[must_use = "it gives the meter back"]
    #[track_caller]
    pub fn burst(self, starts: u32) -> Self {
        assert!(starts > 0, "`burst` must be at least 1: with 0 nothing would ever start");
        self.gate.set_burst(starts);
        self
    }

    /// How far starts may lie behind their schedule and still be made up for. Default: 5 ms.
    ///
    /// Timers ring late, by a millisecond or so, and more on a busy machine. What was held up by them follows at
    /// once, as much of it as belongs into this time; the rest is written off. At 1,000 a second those are
    /// up to five starts. Zero makes up for nothing: then rates above some hundreds are not reached.
    #[must_use = "it gives the meter back"]
    pub fn catch_up(self, lateness: Duration) -> Self {
        self.gate.set_tolerance(lateness);
        self
    }

    /// Changes [`max_at_once`](Self::max_at_once), for those who wait already too. Jobs that run go on: if they are
    /// more than `limit`, none starts until enough have ended.
    ///
    /// # Panics
    /// If `limit` is zero. To let nothing start for a while: [`pause_until`](Self::pause_until).
    #[track_caller]
    pub fn set_max_at_once(&self, limit: usize) {
        assert!(limit > 0, "`max_at_once` must be at least 1: with 0 nothing would ever run");
        self.gate.set_max_at_once(limit);
    }

    /// Changes [`max_per_second`](Self::max_per_second), for those who wait already too. The next start is due one
    /// new period after the latest.
    ///
    /// # Panics
    /// If `rate` is zero, negative, infinite or NaN. To let nothing start for a while:
    /// [`pause_until`](Self::pause_until).
    #[track_caller]
    pub fn set_max_per_second(&self, rate: f64) {
        assert!(
            rate.is_finite() && rate > 0.0,
            "`max_per_second` must be a finite number above 0, and not {rate}"
        );
        self.gate.set_rate(rate);
    }

    /// Nothing starts before `instant`: what a back end asks for with `Retry-After`.
    ///
    /// Holds for those who wait already too, and for all clones. Jobs that run go on. After the pause starts go on at
    /// their rate, without a burst. Of several pauses the one that lasts longest counts; an `instant`
    /// in the past changes nothing.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread", start_paused = true)]
    /// # async fn main() {
    /// use reducer_core::Meter;
    /// use tokio::time::{Duration, Instant};
    ///
    /// let begin = Instant::now();
    /// let meter = Meter::new();
    /// meter.pause_until(begin + Duration::from_secs(3));
    /// let _permit = meter.acquire().await;
    /// assert_eq!(begin.elapsed(), Duration::from_secs(3));
    /// # }
    /// ```
    pub fn pause_until(&self, instant: Instant) {
        self.gate.pause_until(instant);
    }

    /// What has become of the jobs so far, of all clones together.
    #[must_use]
    pub fn stats(&self) -> Stats {
        self.gate.stats()
    }

    /// Waits for a place and a start, for code that is not a list of jobs. The place is given back when the
    /// permit is dropped.
    ///
    /// Who calls first is served first; nothing is reserved before the first poll.
    ///
    /// # Cancel safety
    /// Dropping the future leaves the line. A place that it had been given is given back, and so is its start, unless
    /// somebody has started since: then there is one start less in that second.
    ///
    /// Do not keep the future without polling it: once its turn has come, the place is its own, and others wait
    /// for it. So is it with every fair lock.
    ///
    /// # Panics
    /// Outside of a tokio runtime with its clock enabled, if it has to wait for a start.
    ///
    /// # Examples
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() {
    /// use reducer_core::Meter;
    ///
    /// let meter = Meter::new().max_at_once(1);
    /// let permit = meter.acquire().await;
    /// assert!(meter.try_acquire().is_none());
    /// drop(permit);
    /// assert!(meter.try_acquire().is_some());
    /// # }
    /// ```
    pub async fn acquire(&self) -> Permit {
        let mut entrance = Entrance::new(Arc::clone(&self.gate));
        let place = std::future::poll_fn(|cx| entrance.poll_enter(cx, &mut None)).await;
        Permit { place }
    }

    /// A permit, if there is one without waiting, and nobody else waits for it.
    #[must_use]
    pub fn try_acquire(&self) -> Option<Permit> {
        self.gate.try_enter().map(|place| Permit { place })
    }
}

impl Default for Meter {
    /// As [`Meter::new`].
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Meter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meter").field("stats", &self.stats()).finish_non_exhaustive()
    }
}

/// A place among those that run. Dropping it gives the place back, on every way out, a panic too.
#[must_use = "the place is given back when it is dropped"]
#[derive(Debug)]
pub struct Permit {
    place: Place,
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.place.finish(!std::thread::panicking());
    }
}

/// What has become of the jobs of a meter: `started = running + finished + failed`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Jobs that were started, and permits that were given.
    pub started: u64,
    /// Those that have not ended.
    pub running: u64,
    /// Those that came to their end.
    pub finished: u64,
    /// Those that panicked, that were dropped half-way, or whose `Err` was seen by a `try_` form or by
    /// [`run_any_ok`](Meter::run_any_ok).
    pub failed: u64,
    /// Who waits for a place or a start now. A list of jobs waits once, for the next of its jobs.
    pub waiting: u64,
}
