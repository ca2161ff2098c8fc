//! Parse, model, validate, expand; and what expansions have in common.
//!
//! # Spans
//!
//! Every token of ours is `mixed_site`, so that no name of the user's can meet it, and is *located*
//! at the user's token that it is about, so that rustc's errors point there. All tokens of a call
//! have to be, its path too, or rustc falls back to the whole attribute.
//!
//! A block is of the edition of its span, and ours are of this crate's, 2024: temporaries of a body's
//! last expression are dropped before the arguments, which are locals here. Do not lower it.

mod aggregate;
mod receiver;
mod reduceable;

use proc_macro2::{Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, quote, quote_spanned};
use syn::punctuated::Punctuated;
use syn::{Attribute, FnArg, Meta, Pat, PatIdent, Path, Result, Signature, Token, parse_quote};

use crate::args::{AggregateArgs, Args};
use crate::model::{Arg, Form, Function, Model, at};
use crate::valid;

pub(crate) fn reduceable(tokens: TokenStream, function: &TokenStream) -> Result<TokenStream> {
    let args: Args = syn::parse2(tokens.clone())?;
    let function = Function::parse_under("reduceable", function.clone())?;
    if function.attrs.iter().any(is_aggregate) {
        return Ok(under_aggregate(&args, tokens, function));
    }
    let model = Model::new(args, function);
    valid::check(&model)?;
    Ok(reduceable::expand(&model))
}

pub(crate) fn aggregate(args: TokenStream, function: &TokenStream) -> Result<TokenStream> {
    let args: AggregateArgs = syn::parse2(args)?;
    let function = Function::parse_under("aggregate", function.clone())?;
    aggregate::expand(&args, &function)
}

fn is_aggregate(attr: &Attribute) -> bool {
    attr.path().segments.last().is_some_and(|last| last.ident == "aggregate")
}

// Input:   #[reduceable(args)] #[aggregate(..)] async fn user(ids: Vec<u64>) -> Vec<User> { body }
// Output:  #[aggregate(..)] #[reduceable(args)] async fn user(ids: Vec<u64>) -> Vec<User> { body }
//
// The attribute on top is expanded first, and what calls share is the function of one argument that
// `#[aggregate]` makes.
fn under_aggregate(args: &Args, tokens: TokenStream, function: Function) -> TokenStream {
    let Function { attrs, vis, sig, brace, body } = function;
    let (aggregates, others): (Vec<_>, Vec<_>) = attrs.into_iter().partition(is_aggregate);
    let span = at(sig.ident.span());
    let path = match &args.krate {
        None => quote_spanned!(span=> ::reducer_core::reduceable),
        Some(path) => quote_spanned!(span=> #path::reduceable),
    };
    let mut block = Group::new(proc_macro2::Delimiter::Brace, body);
    block.set_span(brace.span.join());
    quote!(#(#aggregates)* #[#path(#tokens)] #(#others)* #vis #sig #block)
}

/// The one path that generated code starts from.
struct Support<'a>(Option<&'a Path>);

impl Support<'_> {
    /// The path, for a call that is about the token at `span`.
    fn at(&self, span: Span) -> TokenStream {
        match self.0 {
            None => quote_spanned!(span=> ::reducer_core::macro_support),
            Some(path) => {
                let path = relocate(path.to_token_stream(), span);
                quote_spanned!(span=> #path::macro_support)
            }
        }
    }
}

/// The same names, resolved as before, but shown at `span`.
fn relocate(tokens: TokenStream, span: Span) -> TokenStream {
    let relocated = tokens.into_iter().map(|mut token| {
        token.set_span(token.span().located_at(span));
        token
    });
    relocated.collect()
}

/// The function with another body.
///
/// The signature, its parentheses and the braces are the user's tokens: lints such as `dead_code` are
/// silent about what only a macro has written.
fn with_body(function: &Function, args: &[Arg], form: &Form, body: TokenStream) -> TokenStream {
    let Function { attrs, vis, sig, brace, .. } = function;
    let sig = signature(sig, args, form);
    let mut block = Group::new(proc_macro2::Delimiter::Brace, body);
    block.set_span(brace.span.join());
    quote!(#(#attrs)* #vis #sig #block)
}

/// The signature with plain parameters; their patterns move to the body.
fn signature(sig: &Signature, args: &[Arg], form: &Form) -> Signature {
    let mut sig = sig.clone();
    for (input, arg) in sig.inputs.iter_mut().zip(args) {
        match input {
            FnArg::Receiver(receiver) if !matches!(form, Form::Blocking) => {
                receiver.mutability = None
            }
            FnArg::Receiver(_) => {}
            FnArg::Typed(typed) => {
                // `#[expect]` is fulfilled, and `#[warn]` heard, where the body binds the argument.
                typed.attrs.retain(|attr| !is_any(attr, &["expect", "warn", "deny", "forbid"]));
                *typed.pat = Pat::Ident(PatIdent {
                    attrs: Vec::new(),
                    by_ref: None,
                    mutability: None,
                    ident: arg.name.clone(),
                    subpat: None,
                });
            }
        }
    }
    sig
}

fn is_any(attr: &Attribute, names: &[&str]) -> bool {
    names.iter().any(|name| attr.path().is_ident(name))
}

/// `#[cfg]` of an argument, which everything about it has to repeat; `#[cfg_attr(.., cfg(..))]` as one.
fn cfgs(arg: &Arg) -> Vec<Attribute> {
    arg.attrs
        .iter()
        .flat_map(|attr| match attr.path().is_ident("cfg") {
            true => vec![attr.clone()],
            false => conditional_cfgs(attr).unwrap_or_default(),
        })
        .collect()
}

fn conditional_cfgs(attr: &Attribute) -> Option<Vec<Attribute>> {
    let list = attr.meta.require_list().ok().filter(|list| list.path.is_ident("cfg_attr"))?;
    let metas = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated).ok()?;
    let (condition, metas) = (metas.first()?, metas.iter().skip(1));
    let cfgs = metas.filter(|meta| meta.path().is_ident("cfg"));
    let cfgs = cfgs.filter_map(|meta| meta.require_list().ok()).map(|cfg| {
        let cfg = &cfg.tokens;
        parse_quote!(#[cfg(any(not(#condition), #cfg))])
    });
    Some(cfgs.collect())
}

/// The attributes that belong to the binding in the body.
fn binding_attrs(arg: &Arg) -> Vec<&Attribute> {
    let names = ["cfg", "cfg_attr", "allow", "expect", "warn", "deny", "forbid"];
    arg.attrs.iter().filter(|attr| is_any(attr, &names)).collect()
}

/// An identifier of ours.
fn ident(name: &str, span: Span) -> Ident {
    Ident::new(name, at(span))
}

/// The user's block as one of ours: as the last expression of another, its braces would be unused.
fn block(body: TokenStream, span: Span) -> TokenTree {
    let mut block = Group::new(proc_macro2::Delimiter::Brace, body);
    block.set_span(at(span));
    TokenTree::Group(block)
}
