//! The attribute macros of `reducer`. Use them through `reducer_core`, which re-exports them.
//!
//! A function goes through four rooms, each a file: it is parsed (`args`, `model`), checked
//! (`valid`), and expanded (`expand`). If a room refuses it, `fallback` gives it back as it was,
//! beside the one error.
#![forbid(unsafe_code)]

mod args;
mod expand;
mod fallback;
mod model;
mod time;
mod valid;

use proc_macro::TokenStream;

/// Equal calls of this function that overlap share one execution.
///
/// It works on `async fn`s and plain `fn`s (where threads share), free or in an `impl`, a trait, or
/// under `#[async_trait]`. The function keeps its name, visibility, signature, docs and attributes.
///
/// | option | meaning |
/// |---|---|
/// | *none* | all arguments together are the key, `self` like any other |
/// | `key = (id, opts.page)` | an expression over the arguments is the key; a tuple has an element for each of its own |
/// | `skip(client, trace)` | every argument but these is the key |
/// | `reducer = self.reducer` | the expression gives the `Reducer`, or a reference to one, that shares the calls; a field of `self` stands for `self` in the key |
/// | `timeout = "2s"` | a literal, or an expression that gives a `Duration`: the shared call is dropped after it, and its callers get `Err(ReduceError::TimedOut(..))` |
/// | `detached` | the shared call goes on in a task of its own when its last caller has left; also `detached = expr` |
/// | `crate = path` | where `reducer_core` is, if it was renamed or re-exported |
///
/// `timeout` and `detached` are for async functions that return `Result<_, E>`, where `E: From<ReduceError>`.
///
/// # What a key is made of
///
/// Anything `Hash + Eq + Clone + Send + Sync + 'static`, references to it, and options of
/// references. References are looked up as they are and owned only by the call that leads: `&str`
/// is stored as `String`. Floats are compared by their bits.
///
/// `self: Arc<Self>` and `self: &Arc<Self>` stand for the object itself, by its address;
/// `ByPtr(&self.inner)` does the same for an `Arc` in a field.
///
/// # What the shared call sees
///
/// The arguments of the call that leads, exactly as declared. An argument that is left out of the
/// key is the leader's too: the `client` of a call that joins is not used. Borrowed arguments of an
/// `async fn` are cloned by the leader, for the call may outlive it.
#[proc_macro_attribute]
pub fn reduceable(args: TokenStream, function: TokenStream) -> TokenStream {
    let function = function.into();
    expand::reduceable(args.into(), &function)
        .unwrap_or_else(|refusal| fallback::give_back(&refusal, &function))
        .into()
}
