//! Identical calls in flight share one execution: no duplicate work, and no cache. Within one process.
//!
//! A service under load asks the same question many times at once. Put [`macro@reduceable`] on the
//! function that answers it, and calls with equal arguments that overlap run it once:
//!
//! ```
//! # #[cfg(feature = "macros")] mod example {
//! use reducer_core::reduceable;
//! # use std::sync::atomic::{AtomicU32, Ordering};
//! # static QUERIES: AtomicU32 = AtomicU32::new(0);
//!
//! #[reduceable]
//! async fn user_name(id: u64) -> String {
//!     QUERIES.fetch_add(1, Ordering::Relaxed);
//!     tokio::task::yield_now().await; // a round trip to the database
//!     format!("user {id}")
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # pub async fn main() {
//! let (a, b, c) = tokio::join!(user_name(7), user_name(7), user_name(8));
//! assert_eq!((a.as_str(), b.as_str(), c.as_str()), ("user 7", "user 7", "user 8"));
//! assert_eq!(QUERIES.load(Ordering::Relaxed), 2);
//! # }
//! # }
//! # #[cfg(feature = "macros")] fn main() { example::main() }
//! # #[cfg(not(feature = "macros"))] fn main() {}
//! ```
//!
//! # When not to use it
//!
//! - To keep answers: that is a cache's job. When a flight has landed the next call runs afresh.
//! - For calls with an effect of their own per caller: two payments become one.
//! - With a key that leaves out what the answer depends on: **then one user gets another's data.** All arguments
//!   are the key, unless you spell `key = ..` or `skip(..)`.
//!
//! # What is promised
//!
//! Calls that overlap and have equal keys are one **flight**. The first call **leads** and brings the work, the
//! rest **follow**; each gets a clone of the **outcome**, `Err` included.
//!
//! 1. *One at a time.* The work of one key never runs twice at once.
//! 2. *Equal means `Eq`.* A hash never decides. Different functions, key types, value types or reducers never meet.
//! 3. *The flight belongs to all its callers.* Dropping any of them, the leader first of all, neither fails nor
//!    restarts the work.
//! 4. *Progress.* While one caller is polled the flight moves, whatever the others do.
//! 5. *The last one out.* When the last caller leaves, the work is dropped then and there, unless
//!    [`detached`](ReducerBuilder::detached).
//! 6. *Panics land* in every caller, with the same message; the key is free at once.
//! 7. *Failures are shared*, not tried again by one caller after another.
//! 8. *A flight that waits on itself says so*: [`ReduceError::Reentrant`]. Not seen: a hop through `tokio::spawn`.
//! 9. *[`forget`](Reducer::forget) is a barrier* between reads before and after a write.
//! 10. *Your code runs under no lock*, may panic, and may call the reducer again.
//! 11. *Nothing is left behind* by calls that were cancelled.
//! 12. *No runtime is required*; `timeout` and `detached` use tokio.
//!
//! # Recipes
//!
//! **By hand**, with any key: [`Reducer::reduce`], [`reduce_with`](Reducer::reduce_with) for work that only
//! the leader should build, [`reduce_by_ref`](Reducer::reduce_by_ref) for a `&str` that finds a `String`.
//!
//! **Threads**: [`Reducer::reduce_blocking`]. Threads and tasks share.
//!
//! **Errors that are not `Clone`**: return `Result<T, `[`SharedError`]`>`; `?` makes it of any error.
//!
//! **A limit to one caller's patience**: `tokio::time::timeout` around the call. It drops that caller; the
//! flight goes on for the others. **A limit to the flight**: [`ReducerBuilder::timeout`].
//!
//! **Retries** belong inside the work: there is one loop for all. Outside, every caller has its own.
//!
//! **Many single calls, one query**: [`macro@aggregate`] on a function that takes a `Vec`, or an [`Aggregator`] by
//! hand. `#[reduceable]` over `#[aggregate]`: equal calls share, different ones are one batch.
//!
//! **Many jobs inside the limits of a back end**: [`Meter`], alone or as `#[reduceable(meter = ..)]`.
//!
//! **What was saved**: [`Hooks`], ready-made as [`StatisticsOverallHooks`], [`StatisticsDetailHooks`], [`DebugHooks`];
//! for a reducer by [`ReducerBuilder::hooks`], for the global one by [`set_global_hooks`].
//!
//! # What cannot be had
//!
//! - The work is polled by whoever comes: thread-locals, task-locals and `Handle::current()` may differ from poll to
//!   poll. What it needs of its caller's context is an argument, and part of the key.
//! - A ring through `tokio::spawn` is not seen; only a `timeout` ends it.
//! - A thread cannot be stopped: `timeout` does not concern [`Reducer::reduce_blocking`].
//! - After a `fork` the child has the flights of threads that it has not. Fresh keys work there, and a key in
//!   the air after [`forget`](Reducer::forget); a reducer of the child's own is simpler.
//! - With `panic = "abort"` a panic ends the process before anybody could share it.
//!
//! # Features
//!
//! Off by default: `tracing` (each flight runs in a span, a child of the one that its leader was in, whoever polls
//! it; each caller waits in a span that `follows_from` it; there is nothing to write); `metrics` (`MetricsHooks`,
//! for the facade of that name).
//!
//! On by default: `macros` ([`macro@reduceable`]); `tokio` (a flight with many callers moves to a task of its
//! own, so that they are not woken at each of its steps; `timeout`; `detached`; batches; `Meter`); `anyhow`
//! ([`SharedError::downcast_ref`] sees through `anyhow::Error`).
#![warn(clippy::unwrap_used)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(all(feature = "tokio", not(loom)))]
mod batch;
#[cfg(loom)]
#[doc(hidden)]
pub mod batch;
mod blocking;
mod call;
mod error;
mod flight;
pub mod hooks;
mod key;
#[doc(hidden)]
pub mod macro_support;
#[cfg(all(feature = "tokio", not(loom)))]
mod meter;
#[cfg(loom)]
#[doc(hidden)]
#[allow(dead_code, reason = "some of the gate is for forms that need tokio")]
pub mod meter;
mod reducer;
mod registry;
mod sync;

#[cfg(all(feature = "tokio", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use batch::{
    AggregateCall, AggregateCalls, AggregateError, AggregateStats, Aggregated, Aggregator,
    AggregatorBuilder, Answers, AsCalled, Deduped, Flushed, Slot,
};
pub use call::Wrapped;
pub use error::{
    Cancelled, NoRuntime, Overloaded, Panicked, ReduceError, Reentrant, SetHooksError, SharedError,
    TimedOut,
};
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use hooks::MetricsHooks;
pub use hooks::{Call, DebugHooks, Hooks, StatisticsDetailHooks, StatisticsOverallHooks};
pub use key::parts::{ByPtr, KeyPart, KeyPartRef, Output};
#[cfg(all(feature = "tokio", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(feature = "tokio")))]
pub use meter::{Amap, Here, InTasks, Indexed, Items, KeyedMeter, Meter, Permit, Spawned, Stats};
pub use reducer::{Reduced, Reducer, ReducerBuilder, Role, reduce, set_global_hooks};
#[cfg(all(feature = "macros", feature = "tokio", not(loom)))]
#[cfg_attr(docsrs, doc(cfg(all(feature = "macros", feature = "tokio"))))]
#[doc = include_str!("aggregate.md")]
pub use reducer_macros::aggregate;
#[cfg(feature = "macros")]
#[cfg_attr(docsrs, doc(cfg(feature = "macros")))]
#[doc = include_str!("reduceable.md")]
pub use reducer_macros::reduceable;
