//! What remains of a refused function: the function, and why it was refused.
//!
//! Were it to vanish, every call of it would be an error too, and the editor could complete nothing
//! in it.

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};
use quote::quote;

/// The error, and the item as if the attribute were not there.
pub(crate) fn give_back(refusal: &syn::Error, item: &TokenStream) -> TokenStream {
    let error = refusal.to_compile_error();
    quote!(#error #item)
}

/// The same under `#[aggregate]`, whose `#[group]`s nobody else understands.
pub(crate) fn give_back_aggregate(refusal: &syn::Error, item: &TokenStream) -> TokenStream {
    give_back(refusal, &without_groups(item.clone(), true))
}

/// Without `#[group]`, in the parentheses of the item itself.
fn without_groups(tokens: TokenStream, is_item: bool) -> TokenStream {
    let mut out: Vec<TokenTree> = Vec::new();
    for token in tokens {
        let is_attribute =
            matches!(out.last(), Some(TokenTree::Punct(punct)) if punct.as_char() == '#');
        match token {
            TokenTree::Group(group)
                if is_attribute && !is_item && group.stream().to_string() == "group" =>
            {
                out.pop();
            }
            TokenTree::Group(group) if is_item && group.delimiter() == Delimiter::Parenthesis => {
                let mut inner =
                    Group::new(group.delimiter(), without_groups(group.stream(), false));
                inner.set_span(group.span());
                out.push(TokenTree::Group(inner));
            }
            other => out.push(other),
        }
    }
    out.into_iter().collect()
}
