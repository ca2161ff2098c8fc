//! What cannot be shared, and what to write instead.
//!
//! Only what tokens can tell is refused here; what takes types (`Hash`, `Clone`) is refused by
//! rustc, in the words of the traits in `reducer_core`. One error a function, at the token that is
//! to be changed.

use proc_macro2::Span;
use quote::ToTokens;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{
    Error, FnArg, Lifetime, ParenthesizedGenericArguments, ReceiverKind, Result, Safety, Signature,
    TraitBound, Type, TypeFnPtr, TypeImplTrait, TypeReference,
};

use crate::model::{Arg, Form, Hold, Model, boxed_output, first_span, generic_argument, peel};

/// Refuses what cannot be expanded.
pub(crate) fn check(model: &Model) -> Result<()> {
    qualifiers(model)?;
    skipped(model)?;
    terms(model)?;
    for (index, arg) in model.args.iter().enumerate() {
        exclusive(model, index)?;
        // A thread lends its arguments to the body; only what is kept has to be owned.
        if model.has_in_key(index) || !matches!(model.form, Form::Blocking) {
            borrowed(arg)?;
        }
    }
    result(model)
}

fn refuse<T>(span: Span, why: &str) -> Result<T> {
    Err(Error::new(span, why))
}

fn qualifiers(model: &Model) -> Result<()> {
    plain("reduceable", &model.function.sig)
}

/// Refuses what is no plain Rust function.
pub(crate) fn plain(attribute: &str, sig: &Signature) -> Result<()> {
    let why = |what: &str| format!("`#[{attribute}]` does not work on {what}");
    if let Some(constness) = sig.constness {
        return refuse(constness.span, &why("a `const fn`: calls are shared at run time"));
    }
    if let Safety::Unsafe(unsafety) = sig.safety {
        return refuse(
            unsafety.span,
            &why("an `unsafe fn`: the shared call can outlive the caller that vouched for it"),
        );
    }
    if let Some(abi) = &sig.abi {
        return refuse(abi.extern_token.span, &why("an `extern fn`: call a Rust function from it"));
    }
    match &sig.variadic {
        Some(variadic) => refuse(variadic.dots.spans[0], &why("a variadic function")),
        None => Ok(()),
    }
}

/// Refuses what cannot be named, or borrows, in the result of a batch.
pub(crate) fn nameable(output: &Type) -> Result<()> {
    if let Some(span) = first_impl(output) {
        return refuse(span, "the answers of a batch need a nameable type");
    }
    match first_borrow(output) {
        Some(span) => refuse(
            span,
            "the answers of a batch go to callers with other arguments, so they cannot borrow; return an owned type or `Arc<..>`",
        ),
        None => Ok(()),
    }
}

fn skipped(model: &Model) -> Result<()> {
    for name in &model.skip {
        if model.args.iter().any(|arg| arg.is_called(name)) {
            continue;
        }
        let is_part = model.args.iter().any(|arg| arg.bindings.contains(name));
        let why = if is_part {
            format!(
                "`{name}` is only a part of an argument; say what identifies a call with `key = ..`"
            )
        } else {
            format!("no argument is named `{name}`")
        };
        return refuse(name.span(), &why);
    }
    Ok(())
}

fn terms(model: &Model) -> Result<()> {
    if !matches!(model.form, Form::Blocking) {
        return Ok(());
    }
    if let Some((option, _)) = &model.timeout {
        return refuse(
            option.span(),
            "`timeout` needs an `async fn`: a thread cannot be stopped; give what the function waits for a time limit of its own",
        );
    }
    if let Some((option, _)) = &model.meter {
        return refuse(
            option.span(),
            "`meter` needs an `async fn`: a thread would block while it waits for its turn; call this function from one, with the `meter` there",
        );
    }
    match &model.detached {
        Some((option, _)) => refuse(
            option.span(),
            "`detached` needs an `async fn`: a thread that leads runs the call to its end anyway",
        ),
        None => Ok(()),
    }
}

fn exclusive(model: &Model, index: usize) -> Result<()> {
    let arg = &model.args[index];
    let short = match &model.function.sig.inputs[index] {
        FnArg::Receiver(receiver) => match &receiver.kind {
            ReceiverKind::Reference(_, _, mutability) => mutability.as_ref(),
            _ => None,
        },
        FnArg::Typed(_) => None,
    };
    let typed = match arg.ty.as_ref().map(peel) {
        Some(Type::Reference(reference)) => reference.mutability.as_ref(),
        _ => None,
    };
    match short.or(typed) {
        None => Ok(()),
        Some(mutability) if arg.is_self() => refuse(
            mutability.span,
            "`&mut self` is exclusive, so the call cannot be shared; take `&self`",
        ),
        Some(mutability) => refuse(
            mutability.span,
            "`&mut` is exclusive, so the call cannot be shared; take `Arc<Mutex<..>>` or an owned type",
        ),
    }
}

fn borrowed(arg: &Arg) -> Result<()> {
    let Some(ty) = arg.ty.as_ref().map(peel) else {
        return Ok(());
    };
    // The outermost reference is ours to copy.
    let ty = match generic_argument(ty, "Option").map(peel) {
        Some(inner) if arg.hold == Hold::CopyOption => inner,
        _ => ty,
    };
    let inner = match ty {
        Type::Reference(TypeReference { mutability: Some(mutability), .. }) => {
            Some(mutability.span)
        }
        Type::Reference(TypeReference { elem, .. }) => match peel(elem) {
            Type::TraitObject(object) if arg.hold != Hold::Move => {
                let object = object.to_token_stream().to_string().replace(" :: ", "::");
                let why = format!(
                    "`&{object}` cannot be kept by the shared call; take `Arc<{object}>` or `&Arc<{object}>`"
                );
                return refuse(arg.name.span(), &why);
            }
            referent => first_borrow(referent),
        },
        other => first_borrow(other),
    };
    match inner {
        Some(span) => refuse(
            span,
            "a borrow inside of another type cannot be kept by the shared call, which may outlive it; take an owned type",
        ),
        None => Ok(()),
    }
}

fn result(model: &Model) -> Result<()> {
    let output = &model.output;
    let is_async = !matches!(model.form, Form::Blocking);
    if let Some(span) = first_impl(output) {
        let way_out = if is_async { "" } else { "; if it is a future, write `async fn` here" };
        return refuse(
            span,
            &format!("the result of a shared call needs a nameable type{way_out}"),
        );
    }
    if !is_async && boxed_output(output).is_some() {
        return refuse(
            model.function.sig.ident.span(),
            "a future is not a result that can be shared; write `async fn` here",
        );
    }
    if let Type::Never(never) = peel(output) {
        return refuse(never.bang_token.span, "there is no result to share");
    }
    match first_borrow(output) {
        Some(span) => refuse(
            span,
            "the result is shared with callers that have other arguments, so it cannot borrow; return an owned type or `Arc<..>`",
        ),
        None => Ok(()),
    }
}

/// The first `&` or lifetime that is not `'static`, nor only the business of a function type.
pub(crate) fn first_borrow(ty: &Type) -> Option<Span> {
    struct Borrow(Option<Span>);

    impl<'ast> Visit<'ast> for Borrow {
        fn visit_type_reference(&mut self, reference: &'ast TypeReference) {
            if reference.lifetime.is_none() {
                self.0.get_or_insert(reference.and_token.span());
            }
            visit::visit_type_reference(self, reference);
        }

        fn visit_lifetime(&mut self, lifetime: &'ast Lifetime) {
            if lifetime.ident != "static" {
                self.0.get_or_insert(lifetime.span());
            }
        }

        fn visit_trait_bound(&mut self, bound: &'ast TraitBound) {
            if bound.lifetimes.is_none() {
                visit::visit_trait_bound(self, bound);
            }
        }

        fn visit_type_fn_ptr(&mut self, _: &'ast TypeFnPtr) {}

        fn visit_parenthesized_generic_arguments(
            &mut self,
            _: &'ast ParenthesizedGenericArguments,
        ) {
        }
    }

    let mut borrow = Borrow(None);
    borrow.visit_type(ty);
    borrow.0
}

fn first_impl(ty: &Type) -> Option<Span> {
    struct Impl(Option<Span>);

    impl<'ast> Visit<'ast> for Impl {
        fn visit_type_impl_trait(&mut self, ty: &'ast TypeImplTrait) {
            self.0.get_or_insert(first_span(ty));
        }
    }

    let mut found = Impl(None);
    found.visit_type(ty);
    found.0
}
