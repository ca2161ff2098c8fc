//! The attribute macros of `reducer`. Use them through `reducer_core`, which re-exports them.
//!
//! A function goes through four rooms, each a file: it is parsed (`args`, `model`), checked
//! (`valid`), and expanded (`expand`). If a room refuses it, `fallback` gives it back as it was,
//! beside the one error.
#![forbid(unsafe_code)]

mod args;
mod expand;
mod fallback;
#[cfg(test)]
mod hostile_input;
mod model;
mod time;
mod valid;

use proc_macro::TokenStream;

// `reducer_core` re-exports it with the full documentation, which rustdoc puts before this; editors show
// this alone.
/// # At a glance
///
/// Equal calls of this function that overlap share one execution.
///
/// | option | meaning |
/// |---|---|
/// | *none* | all arguments together are the key, `self` like any other |
/// | `key = (id, opts.page)` | an expression over the arguments is the key; a tuple has an element for each of its own |
/// | `skip(client, trace)` | every argument but these is the key |
/// | `reducer = self.reducer` | the `Reducer` that shares the calls, or a reference to one; a field of `self` stands for `self` in the key |
/// | `timeout = "2s"` | or an expression that gives a `Duration`: the shared call is dropped after it, and its callers get `Err` |
/// | `detached` | the shared call goes on in a task of its own when its last caller has left; also `detached = ..` |
/// | `meter = METER` | the shared call takes a place and a start of a `Meter`; who joins takes none |
/// | `crate = path` | where `reducer_core` is, if it was renamed or re-exported |
///
/// `timeout` and `detached` are for async functions that return `Result<_, E>`, where `E: From<ReduceError>`.
///
/// The body sees the arguments of the call that leads: what is left out of the key, such as a `client`, is
/// the leader's too.
#[proc_macro_attribute]
pub fn reduceable(args: TokenStream, function: TokenStream) -> TokenStream {
    let function = function.into();
    expand::reduceable(args.into(), &function)
        .unwrap_or_else(|refusal| fallback::give_back(&refusal, &function))
        .into()
}

/// # At a glance
///
/// Calls of this function that come within the leeway are one run of it.
///
/// | option | meaning |
/// |---|---|
/// | `leeway = "10ms"` | how long a batch waits for more calls, from its first; or an expression that gives a `Duration`; 10 ms if left out |
/// | `max_count = 100` | a batch of so many goes at once; no limit if left out |
/// | `max_concurrent = 4` | so many batches run at once |
/// | `max_waiting = 10_000` | so many calls wait for a batch to be dispatched; one beyond gets `Full` |
/// | `in = self.users` | the `Aggregated` that holds the batches: a method needs one |
/// | `crate = path` | where `reducer_core` is, if it was renamed or re-exported |
///
/// The first parameter is `Vec<T>`, or `Vec<Slot<T, R>>`; callers give one `T`. Those after it are marked `#[group]`:
/// calls with equal ones share a batch.
#[proc_macro_attribute]
pub fn aggregate(args: TokenStream, function: TokenStream) -> TokenStream {
    let function = function.into();
    expand::aggregate(args.into(), &function)
        .unwrap_or_else(|refusal| fallback::give_back_aggregate(&refusal, &function))
        .into()
}
