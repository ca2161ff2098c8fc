//! `#[aggregate]`
//!
//! # Why it looks like this
//!
//! - **The body stays inline**, as under `#[reduceable]`, and runs in the task of the batch: what it is about comes
//!   in as arguments, and `self` as a clone that the call which opens the batch makes.
//! - **A free function keeps its batches in a static of its own**, so it cannot be generic: a static cannot name
//!   the generics around it. A method says where they are, for else all instances would share them.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{quote, quote_spanned};
use syn::spanned::Spanned;
use syn::{
    Attribute, Error, FnArg, GenericArgument, Meta, Pat, PatIdent, PatType, PathArguments,
    Receiver, ReceiverKind, Result, ReturnType, Signature, Type, parse_quote, parse_quote_spanned,
};

use super::{Support, block, ident, is_any, receiver};
use crate::args::AggregateArgs;
use crate::model::{Function, at, first_span, peel};
use crate::valid;

/// What there is to know of a function that is to be called one by one.
struct Batching<'a> {
    function: &'a Function,
    options: &'a AggregateArgs,
    receiver: Option<&'a Receiver>,
    /// `ids: Vec<T>`
    many: &'a PatType,
    /// `T`
    item: Type,
    /// The answer type, if it is `Vec<Slot<T, R>>` that the function takes.
    slots: Option<Type>,
    groups: Vec<&'a PatType>,
    output: Type,
}

pub(super) fn expand(options: &AggregateArgs, function: &Function) -> Result<TokenStream> {
    let batching = model(options, function)?;
    Ok(batching.expand())
}

fn refuse<T>(span: Span, why: &str) -> Result<T> {
    Err(Error::new(span, why))
}

fn is_group(attr: &Attribute) -> bool {
    matches!(&attr.meta, Meta::Path(path) if path.is_ident("group"))
}

fn model<'a>(options: &'a AggregateArgs, function: &'a Function) -> Result<Batching<'a>> {
    let sig = &function.sig;
    valid::plain("aggregate", sig)?;
    if sig.asyncness.is_none() {
        return refuse(
            sig.fn_token.span,
            "`#[aggregate]` needs an `async fn`: callers wait for their batch",
        );
    }
    let mut inputs = sig.inputs.iter();
    let receiver = match sig.inputs.first() {
        Some(FnArg::Receiver(receiver)) => {
            inputs.next();
            Some(receiver)
        }
        _ => None,
    };
    if let Some(receiver) = receiver {
        exclusive(receiver)?;
        if options.place.is_none() {
            return refuse(
                receiver.self_token.span,
                "instances must not share a batch: give each its own, a field `users: Aggregated<T, R>`, and name it with `in = self.users`",
            );
        }
    } else if options.place.is_none() {
        if let Some(param) = sig
            .generics
            .params
            .iter()
            .find(|param| !matches!(param, syn::GenericParam::Lifetime(_)))
        {
            return refuse(
                param.span(),
                "a generic function has no one place for its batches: name it with `in = ..`, an `Aggregated<T, R>`, or call an `Aggregator`",
            );
        }
    }
    let typed: Vec<&PatType> = inputs
        .filter_map(|input| match input {
            FnArg::Typed(typed) => Some(typed),
            FnArg::Receiver(_) => None,
        })
        .collect();
    let Some((many, groups)) = typed.split_first() else {
        return refuse(
            sig.ident.span(),
            "`#[aggregate]` needs the arguments of a batch: take a `Vec<T>` first",
        );
    };
    let Some(item) = argument(&many.ty, "Vec", 0) else {
        return refuse(
            first_span(&many.ty),
            "the first parameter takes the arguments of all calls of a batch: make it `Vec<T>`, or `Vec<Slot<T, R>>`",
        );
    };
    let (item, slots) = match (argument(item, "Slot", 0), argument(item, "Slot", 1)) {
        (Some(item), Some(answer)) => (item.clone(), Some(answer.clone())),
        _ => (item.clone(), None),
    };
    for group in groups {
        if !group.attrs.iter().any(is_group) {
            return refuse(
                first_span(&group.pat),
                "which calls may share a batch depends on this argument: mark it `#[group]`, or put it into the items",
            );
        }
        owned(&group.ty)?;
    }
    if let Some(misplaced) = many.attrs.iter().find(|attr| is_group(attr)) {
        return refuse(
            misplaced.span(),
            "the first parameter is the batch itself; `#[group]` goes on those after it",
        );
    }
    owned(&item)?;
    let output = match &sig.output {
        ReturnType::Default if slots.is_some() => {
            parse_quote_spanned!(at(sig.ident.span())=> ())
        }
        ReturnType::Default => {
            return refuse(
                sig.ident.span(),
                "a batch has to be answered: return `Vec<R>`, `HashMap<T, R>` or either in a `Result`, or take `Vec<Slot<T, R>>`",
            );
        }
        ReturnType::Type(_, ty) => (**ty).clone(),
    };
    valid::nameable(&output)?;
    Ok(Batching { function, options, receiver, many, item, slots, groups: groups.to_vec(), output })
}

fn exclusive(receiver: &Receiver) -> Result<()> {
    let mutability = match &receiver.kind {
        ReceiverKind::Reference(_, _, mutability) => mutability.as_ref(),
        ReceiverKind::Typed(_, ty) => match peel(ty) {
            Type::Reference(reference) => reference.mutability.as_ref(),
            _ => None,
        },
        _ => None,
    };
    match mutability {
        Some(mutability) => refuse(
            mutability.span,
            "`&mut self` is exclusive, so calls cannot be one batch; take `&self`",
        ),
        None => Ok(()),
    }
}

fn owned(ty: &Type) -> Result<()> {
    match valid::first_borrow(ty) {
        Some(span) => {
            refuse(span, "a batch can outlive the caller that lends this; take an owned type")
        }
        None => Ok(()),
    }
}

/// The argument of this index of `path::to::Name<..>`.
fn argument<'a>(ty: &'a Type, name: &str, index: usize) -> Option<&'a Type> {
    let Type::Path(path) = peel(ty) else {
        return None;
    };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    let PathArguments::AngleBracketed(arguments) = &last.arguments else {
        return None;
    };
    match arguments.args.iter().nth(index)? {
        GenericArgument::Type(ty) => Some(ty),
        _ => None,
    }
}

impl Batching<'_> {
    // Input:   #[aggregate(leeway = "10ms", in = self.users)]
    //          async fn user(&self, ids: Vec<u64>, #[group] tenant: Tenant) -> Vec<User> { body }
    //
    // Output:  async fn user(&self, ids: u64, tenant: Tenant) -> User {
    //              let this = support::held(self);
    //              return support::answered::<_, _, _, Vec<User>, _, _, _>(
    //                  &(self.users),
    //                  support::terms(Some(leeway), None, None, None),
    //                  &|| {},
    //                  ids,
    //                  tenant,
    //                  || {
    //                      let __self = <the owned self>;
    //                      move |items: Vec<u64>, tenant: Tenant| async move {
    //                          if false { return never::<Vec<User>>(); }
    //                          let __self = &__self;
    //                          let ids = items;
    //                          { body }
    //                      }
    //                  },
    //              ).await;
    //          }
    //
    // A free function has, for `self.users`,
    //
    //              static BATCHES: LazyLock<Aggregated<u64, User, Infallible, Tenant>> = LazyLock::new(Aggregated::new);
    fn expand(&self) -> TokenStream {
        let Function { attrs, vis, sig, brace, body } = self.function;
        let span = at(sig.ident.span());
        let output_span = at(first_span(&self.output));
        let s = Support(self.options.krate.as_ref()).at(span);
        let o = Support(self.options.krate.as_ref()).at(output_span);
        let (item, output) = (&self.item, &self.output);
        let name = self.name(self.many, 0);
        let group_names: Vec<Ident> = (self.groups.iter().enumerate())
            .map(|(index, group)| self.name(group, index + 1))
            .collect();
        let group_types: Vec<_> = self.groups.iter().map(|group| &group.ty).collect();
        let (group_type, group) = match (&group_types[..], &group_names[..]) {
            ([ty], [name]) => (quote!(#ty), quote!(#name)),
            _ => (
                quote_spanned!(span=> (#(#group_types),*)),
                quote_spanned!(span=> (#(#group_names),*)),
            ),
        };
        let (answer, error) = match &self.slots {
            Some(answer) => (
                quote!(#answer),
                quote_spanned!(output_span=> <#output as #o::SlotsOutcome>::Error),
            ),
            None => (
                quote_spanned!(output_span=> <#output as #o::Answers<#item>>::Answer),
                quote_spanned!(output_span=> <#output as #o::Answers<#item>>::Error),
            ),
        };
        let place = match &self.options.place {
            Some(place) => {
                let span = at(first_span(place));
                quote_spanned!(span=> &(#place))
            }
            None => quote_spanned! {span=> {
                static BATCHES: #s::std::sync::LazyLock<
                    #s::Aggregated<#item, #answer, #error, #group_type>
                > = #s::std::sync::LazyLock::new(#s::Aggregated::new);
                &*BATCHES
            }},
        };
        let terms = self.terms(&s, span);
        let items = ident("items", span);
        let many_type = &self.many.ty;
        let binding = bind(self.many, &items);
        let group_bindings =
            self.groups.iter().zip(&group_names).map(|(group, name)| bind(group, name));
        let (capture, lend, body) = match self.receiver {
            None => (TokenStream::new(), TokenStream::new(), body.clone()),
            Some(receiver) => {
                let (capture, lend) = self_of(receiver, &s);
                (capture, lend, receiver::rename(body.clone()))
            }
        };
        let body = block(body, brace.span.join());
        let work = quote_spanned! {span=>
            || {
                #capture
                move |#items: #many_type, #group: #group_type| async move {
                    if false {
                        return #s::never::<#output>();
                    }
                    #lend
                    #binding
                    #(#group_bindings)*
                    #body
                }
            }
        };
        let call = match self.slots {
            Some(_) => quote_spanned!(output_span=> #o::slotted::<_, _, _, _, #output, _, _, _>),
            None => quote_spanned!(output_span=> #o::answered::<_, _, _, #output, _, _, _>),
        };
        let call = quote_spanned! {span=>
            return #call(#place, #terms, &|| {}, #name, #group, #work).await;
        };
        let sig = self.signature(sig, &name, &group_names, &o);
        let mut outer = proc_macro2::Group::new(proc_macro2::Delimiter::Brace, call);
        outer.set_span(brace.span.join());
        quote!(#(#attrs)* #vis #sig #outer)
    }

    /// What a parameter is called: the name that it binds, or one of ours.
    fn name(&self, arg: &PatType, index: usize) -> Ident {
        match &*arg.pat {
            Pat::Ident(PatIdent { ident, subpat: None, .. }) => ident.clone(),
            other => ident(&format!("arg{index}"), first_span(other)),
        }
    }

    fn terms(&self, s: &TokenStream, span: Span) -> TokenStream {
        let AggregateArgs { leeway, max_count, max_concurrent, max_waiting, .. } = self.options;
        let none = || quote_spanned!(span=> #s::std::option::Option::None);
        let leeway = leeway.as_ref().map_or_else(none, |leeway| {
            let leeway = leeway.expand(s);
            quote_spanned!(span=> #s::std::option::Option::Some(#leeway))
        });
        let counts = [max_count, max_concurrent, max_waiting].map(|count| {
            count.as_ref().map_or_else(none, |count| {
                let span = at(first_span(count));
                let s = Support(self.options.krate.as_ref()).at(span);
                quote_spanned!(span=> #s::std::option::Option::Some(#count))
            })
        });
        quote_spanned!(span=> #s::terms(#leeway, #(#counts),*))
    }

    /// The signature of a call by itself.
    fn signature(
        &self,
        sig: &Signature,
        name: &Ident,
        groups: &[Ident],
        o: &TokenStream,
    ) -> Signature {
        let mut sig = sig.clone();
        let typed = sig.inputs.iter_mut().filter_map(|input| match input {
            FnArg::Typed(typed) => Some(typed),
            FnArg::Receiver(_) => None,
        });
        for (typed, name) in typed.zip(std::iter::once(name).chain(groups)) {
            typed.attrs.retain(|attr| {
                !is_group(attr) && !is_any(attr, &["expect", "warn", "deny", "forbid"])
            });
            *typed.pat = Pat::Ident(PatIdent {
                attrs: Vec::new(),
                by_ref: None,
                mutability: None,
                ident: name.clone(),
                subpat: None,
            });
        }
        if let Some(FnArg::Receiver(receiver)) = sig.inputs.first_mut() {
            receiver.mutability = None;
        }
        let first = usize::from(self.receiver.is_some());
        if let Some(FnArg::Typed(many)) = sig.inputs.iter_mut().nth(first) {
            *many.ty = self.item.clone();
        }
        let given = self.given(o);
        sig.output = match sig.output {
            ReturnType::Type(arrow, _) => ReturnType::Type(arrow, Box::new(given)),
            ReturnType::Default => parse_quote!(-> #given),
        };
        sig
    }

    /// What the caller gets, in the user's own tokens where they can be seen.
    fn given(&self, o: &TokenStream) -> Type {
        let (item, output) = (&self.item, &self.output);
        let span = at(first_span(output));
        if let Some(answer) = &self.slots {
            return parse_quote_spanned! {span=>
                #o::std::result::Result<#answer, #o::AggregateError<<#output as #o::SlotsOutcome>::Error>>
            };
        }
        let plain = |ty: &Type| -> Option<Type> {
            if let Some(answer) = argument(ty, "Vec", 0) {
                return Some(answer.clone());
            }
            let answer = argument(ty, "HashMap", 1)?;
            Some(parse_quote_spanned!(span=> #o::std::option::Option<#answer>))
        };
        let fallible = argument(output, "Result", 0).and_then(plain);
        match (plain(output), fallible, argument(output, "Result", 1)) {
            (Some(answer), ..) => answer,
            (_, Some(answer), Some(error)) => parse_quote_spanned! {span=>
                #o::std::result::Result<#answer, #o::AggregateError<#error>>
            },
            _ => parse_quote_spanned!(span=> <#output as #o::Answers<#item>>::Given),
        }
    }
}

/// Binds a parameter as the function declared it.
fn bind(arg: &PatType, value: &Ident) -> TokenStream {
    let (pat, ty) = (&arg.pat, &arg.ty);
    let names = ["allow", "expect", "warn", "deny", "forbid"];
    let attrs = arg.attrs.iter().filter(|attr| is_any(attr, &names));
    let span = at(first_span(pat));
    quote_spanned! {span=>
        #(#attrs)*
        #[allow(
            clippy::no_effect_underscore_binding,
            clippy::shadow_reuse,
            clippy::shadow_same,
            clippy::shadow_unrelated
        )]
        let #pat: #ty = #value;
    }
}

/// How `self` gets into the batch, and how it is lent to the body.
fn self_of(receiver: &Receiver, s: &TokenStream) -> (TokenStream, TokenStream) {
    let span = at(receiver.self_token.span);
    let this = receiver::this(receiver.self_token.span);
    let itself = Ident::new("self", receiver.self_token.span);
    let mutability = receiver.mutability;
    let is_reference = match &receiver.kind {
        ReceiverKind::Typed(_, ty) => matches!(peel(ty), Type::Reference(_)),
        kind => matches!(kind, ReceiverKind::Reference(..)),
    };
    let lent =
        if is_reference { quote_spanned!(span=> #itself) } else { quote_spanned!(span=> &#itself) };
    let capture = quote_spanned!(span=> let #this = #s::std::clone::Clone::clone(#lent););
    let lend = match is_reference {
        true => quote_spanned!(span=> let #this = &#this; let _ = #this;),
        false => quote_spanned!(span=> let #mutability #this = #this; let _ = &#this;),
    };
    (capture, lend)
}
