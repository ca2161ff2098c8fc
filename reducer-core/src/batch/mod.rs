//! Many single calls become one batch: from the first call of a batch to the end of its task.
//!
//! # States of a batch
//! ```text
//! Open ──full; or its time is over, or flushed: a place is free──▶ Granted ──its task departs──▶ the function runs
//!   │  └──the same, but no place is free──▶ Queued ──a batch ends─────▶┘
//!   └──everybody left (from Queued, too), or its runtime died──▶ Void
//! ```
//! `Open`, and `Queued` unless it is full, are in the table: calls join them. A batch leaves the table in the
//! step in which it turns `Granted` or `Void`, or is full; from then on the next call opens another, with a
//! window of its own.
//!
//! # Who may touch what
//! | what | under | by |
//! |---|---|---|
//! | the table, the queue, the counts, `Helm` | the core's lock, then the helm's | callers, carriers |
//! | seats | the batch's own lock (`slots.rs`), under the core's while somebody may board | callers, its carrier |
//! | the user's function, its future | no lock | the carrier's task alone |
//!
//! Lock order: core, helm, seats. Users' code (arguments, answers, groups, wakers) runs under none of them: it is
//! carried out as `Debris`.
//!
//! # Invariants
//! 1. A batch that is `Granted` holds one of `running` places, and its [`Carrier`](carrier::Carrier) gives it back.
//! 2. Every batch has a carrier, from before it can be seen; however it goes, its callers get an end.
//! 3. `waiting` is the number of seats that are `Waiting`, over all batches.
//! 4. Calls of different runtimes are not in one batch, so a runtime that dies takes nobody else's call with it.

mod error;
mod slots;

#[cfg(not(loom))]
mod aggregated;
#[cfg(not(loom))]
mod aggregator;
#[cfg(not(loom))]
mod answers;
#[cfg(not(loom))]
mod call;
#[cfg(not(loom))]
mod carrier;
#[cfg(not(loom))]
mod core;
#[cfg(not(loom))]
mod slot;
#[cfg(not(loom))]
mod watch;

#[cfg(not(loom))]
pub use aggregated::Aggregated;
#[cfg(not(loom))]
pub use aggregated::{SlotsOutcome, Terms, answered, slotted, terms};
#[cfg(not(loom))]
pub use aggregator::{AggregateStats, Aggregator, AggregatorBuilder, AsCalled, Deduped, Flushed};
#[cfg(not(loom))]
pub use answers::Answers;
#[cfg(not(loom))]
pub use call::{AggregateCall, AggregateCalls};
pub use error::AggregateError;
#[cfg(not(loom))]
pub use slot::Slot;
#[cfg(loom)]
pub use slots::door;
