//! Identical calls in flight share one execution.
#![cfg_attr(docsrs, feature(doc_cfg))]

mod blocking;
mod call;
mod error;
mod flight;
mod key;
#[doc(hidden)]
pub mod macro_support;
mod reducer;
mod registry;
mod sync;

pub use call::Wrapped;
pub use error::{
    Cancelled, NoRuntime, Overloaded, Panicked, ReduceError, Reentrant, SharedError, TimedOut,
};
pub use key::parts::{ByPtr, KeyPart, KeyPartRef, Output};
pub use reducer::{Reduced, Reducer, ReducerBuilder, Role, reduce};
#[cfg(feature = "macros")]
pub use reducer_macros::reduceable;
