//! What `#[reduceable]` expands to, under lints that forgive nothing. Rows 18 and 20 of what a user may write.
#![no_implicit_prelude]
#![forbid(unsafe_code, unused, unreachable_code)]
#![deny(
    warnings,
    deprecated_safe,
    elided_lifetimes_in_paths,
    explicit_outlives_requirements,
    future_incompatible,
    keyword_idents,
    let_underscore_drop,
    macro_use_extern_crate,
    meta_variable_misuse,
    missing_abi,
    missing_copy_implementations,
    missing_debug_implementations,
    missing_docs,
    nonstandard_style,
    redundant_imports,
    redundant_lifetimes,
    rust_2018_idioms,
    rust_2021_compatibility,
    rust_2024_compatibility,
    single_use_lifetimes,
    trivial_casts,
    trivial_numeric_casts,
    unit_bindings,
    unnameable_types,
    unreachable_pub,
    unused_crate_dependencies,
    unused_import_braces,
    unused_lifetimes,
    unused_macro_rules,
    unused_qualifications,
    unused_results,
    variant_size_differences,
    clippy::all,
    clippy::cargo,
    clippy::nursery,
    clippy::pedantic,
    clippy::restriction
)]
#![allow(
    clippy::absolute_paths,
    clippy::arbitrary_source_item_ordering,
    clippy::blanket_clippy_restriction_lints,
    clippy::cargo_common_metadata,
    clippy::exhaustive_structs,
    clippy::field_scoped_visibility_modifiers,
    clippy::implicit_return,
    clippy::impl_trait_in_params,
    clippy::min_ident_chars,
    clippy::missing_inline_in_public_items,
    clippy::missing_trait_methods,
    clippy::multiple_crate_versions,
    clippy::pub_with_shorthand,
    clippy::question_mark_used,
    clippy::single_call_fn,
    clippy::single_char_lifetime_names,
    clippy::std_instead_of_alloc,
    clippy::std_instead_of_core,
    clippy::unused_async,
    clippy::unused_trait_names,
    clippy::use_self,
    reason = "what the functions below do, with the attribute or without it"
)]

use ::reducer_core::{Reducer, reduceable};
use ::reducer_tests::{begin, count_run};
use ::std::clone::Clone;
use ::std::cmp::{Eq, PartialEq};
use ::std::convert::From;
use ::std::fmt::Debug;
use ::std::hash::Hash;
use ::std::sync::Arc;
#[cfg(test)]
use ::tokio as _;

/// Taken.
mod core {}
/// Taken.
mod std {}
/// Taken.
mod alloc {}
/// Taken.
mod reducer_core {}
/// Taken.
mod macro_support {}

/// Unit types.
macro_rules! named {
    ($($name:ident)*) => { $(
        /// A name that the prelude has too.
        #[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
        pub struct $name;
    )* };
}

named!(Option Result String Box Some None);

/// An outcome that can say that the time is over.
pub type Outcome = ::std::result::Result<u8, ::reducer_core::SharedError>;

/// All kinds of arguments.
#[reduceable]
pub async fn arguments(a: Option, b: &Result, mut c: u8, _: String, _unused: u8, s: &str) -> Box {
    begin("arguments").await;
    c = c.wrapping_add(1);
    if (a, *b, c, s) == (Option, Result, 2, "s") {
        return Box;
    }
    ::std::unreachable!("the arguments are those of the only call")
}

/// No result.
#[reduceable]
pub async fn unit(a: u8) {
    begin("unit").await;
    ::std::assert_eq!(a, 1, "the only call");
}

/// Threads.
#[reduceable]
#[must_use]
pub fn blocking(a: u8, (b, _): (u8, u8), s: &str) -> usize {
    count_run("blocking");
    if a == 1 {
        return 2;
    }
    usize::from(a.wrapping_add(b)).wrapping_add(s.len())
}

/// A key over what a pattern binds.
#[reduceable(key = (a, x))]
pub async fn keyed(a: u8, (x, y): (u8, u8)) -> u8 {
    begin("keyed").await;
    a.wrapping_add(x).wrapping_add(y)
}

/// Terms of its own.
///
/// # Errors
/// The text is no number.
#[reduceable(timeout = "2s", detached, reducer = reducer, skip(reducer))]
pub async fn limited(reducer: &Reducer, text: &str) -> Outcome {
    begin("limited").await;
    let number = text.parse()?;
    ::std::result::Result::Ok(number)
}

impl Option {
    /// A method.
    #[reduceable]
    pub async fn by_ref(&self, s: &str) -> usize {
        begin("by_ref").await;
        s.len()
    }

    /// A method that changes its own copy.
    #[reduceable]
    pub async fn by_value(mut self) -> Self {
        begin("by_value").await;
        let this = &mut self;
        *this = Self;
        self
    }

    /// A method of an object.
    #[reduceable]
    pub async fn by_arc(self: Arc<Self>, n: u8) -> u64 {
        begin("by_arc").await;
        u64::from(n)
    }
}
