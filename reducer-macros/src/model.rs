//! What is known of a function before it is checked and expanded.
//!
//! The body stays tokens: whoever parses it makes half-written code fail here instead of in rustc,
//! and takes completion away from the editor.

use proc_macro2::{Delimiter, Group, Ident, Span, TokenStream, TokenTree};
use quote::{ToTokens, format_ident, quote};
use syn::parse::{ParseStream, Parser};
use syn::punctuated::Punctuated;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Error, Expr, ExprTuple, FnArg, GenericArgument, Pat, PatIdent, PatType, Path,
    PathArguments, Receiver, ReceiverKind, Result, ReturnType, Signature, Token, Type,
    TypeParamBound, Visibility, braced, token,
};

use crate::args::Args;
use crate::time::Time;

/// The function as it was written.
pub(crate) struct Function {
    pub(crate) attrs: Vec<Attribute>,
    pub(crate) vis: Visibility,
    pub(crate) sig: Signature,
    pub(crate) brace: token::Brace,
    pub(crate) body: TokenStream,
}

impl Function {
    /// Parses what stands under the attribute of this name.
    pub(crate) fn parse_under(attribute: &str, tokens: TokenStream) -> Result<Self> {
        (|input: ParseStream| Self::parse(attribute, input)).parse2(tokens)
    }

    fn parse(attribute: &str, input: ParseStream) -> Result<Self> {
        let mut attrs = input.call(Attribute::parse_outer)?;
        let vis = input.parse()?;
        let start = input.span();
        let sig: Signature = match input.fork().parse::<Signature>() {
            Ok(_) => input.parse()?,
            Err(_) if !mentions_fn(input) => {
                return Err(Error::new(start, format!("`#[{attribute}]` goes on a function")));
            }
            Err(error) => return Err(error),
        };
        if input.peek(Token![;]) {
            return Err(Error::new(
                sig.ident.span(),
                format!(
                    "`#[{attribute}]` needs a function with a body; put it on the implementation"
                ),
            ));
        }
        let content;
        let brace = braced!(content in input);
        // In a block of ours they would be out of place, so they move out of the body, to where
        // they mean the same.
        attrs.extend(
            content
                .call(Attribute::parse_inner)?
                .into_iter()
                .map(|attr| Attribute { style: syn::AttrStyle::Outer, ..attr }),
        );
        Ok(Function { attrs, vis, sig, brace, body: content.parse()? })
    }
}

fn mentions_fn(input: ParseStream) -> bool {
    let mut tokens = input.fork().parse::<TokenStream>().unwrap_or_default().into_iter();
    tokens.any(|token| matches!(&token, TokenTree::Ident(word) if word == "fn"))
}

/// How the function waits.
pub(crate) enum Form {
    /// `async fn`
    Async,
    /// What `#[async_trait]` makes of one: the body, around the block of its future.
    Boxed(Boxed),
    /// `fn`: threads wait.
    Blocking,
}

/// `Box::pin(async move { .. })`
pub(crate) struct Boxed {
    pub(crate) before: TokenStream,
    pub(crate) asyncness: TokenStream,
    pub(crate) block: Group,
    pub(crate) span: Span,
}

/// How an argument gets into the shared call.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Hold {
    /// As it is.
    Move,
    /// `&T`: as a copy, lent to the body.
    Copy,
    /// `Option<&T>`: the same.
    CopyOption,
}

/// How an argument is an element of the key.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Identity {
    /// By value.
    Value,
    /// By value, as `self`: the same, with another message if it cannot be.
    Receiver,
    /// By address: `self: Arc<Self>`.
    Address,
    /// `&'static T`: kept as the reference that it is.
    Static,
}

/// One argument, `self` included.
pub(crate) struct Arg {
    /// The parameter of the function; `self` for the receiver.
    pub(crate) name: Ident,
    /// What the body binds. None for the receiver.
    pub(crate) pat: Option<Pat>,
    /// All that `pat` binds.
    pub(crate) bindings: Vec<Ident>,
    /// The `mut` of `mut self`.
    pub(crate) mutability: Option<Token![mut]>,
    pub(crate) attrs: Vec<Attribute>,
    /// None for `self` in short.
    pub(crate) ty: Option<Type>,
    /// `&self`, `x: &T`
    pub(crate) is_reference: bool,
    pub(crate) hold: Hold,
    pub(crate) identity: Identity,
}

impl Arg {
    pub(crate) fn is_self(&self) -> bool {
        self.pat.is_none()
    }

    /// Whether the option names it: by the one thing that it binds.
    pub(crate) fn is_called(&self, name: &Ident) -> bool {
        matches!(&self.bindings[..], [binding] if binding == name)
    }

    /// Whether its pattern does more than to name it.
    pub(crate) fn is_destructured(&self) -> bool {
        self.bindings.first() != Some(&self.name)
    }

    fn receiver(receiver: &Receiver) -> Self {
        let (ty, is_reference) = match &receiver.kind {
            ReceiverKind::Typed(_, ty) => (Some(peel(ty)), matches!(peel(ty), Type::Reference(_))),
            kind => (None, matches!(kind, ReceiverKind::Reference(..))),
        };
        let pointee = ty.map(|ty| match ty {
            Type::Reference(reference) => peel(&reference.elem),
            other => other,
        });
        let by_address = pointee.is_some_and(|ty| generic_argument(ty, "Arc").is_some());
        let name = Ident::new("self", receiver.self_token.span);
        Arg {
            bindings: vec![name.clone()],
            name,
            pat: None,
            mutability: receiver.mutability,
            attrs: receiver.attrs.clone(),
            ty: ty.cloned(),
            is_reference,
            hold: if is_reference { Hold::Copy } else { Hold::Move },
            identity: if by_address { Identity::Address } else { Identity::Receiver },
        }
    }

    fn typed(index: usize, arg: &PatType) -> Self {
        let bindings = bindings(&arg.pat);
        let name = match &*arg.pat {
            Pat::Ident(PatIdent { ident, subpat: None, .. }) => ident.clone(),
            other => format_ident!("arg{index}", span = at(first_span(other))),
        };
        let ty = peel(&arg.ty);
        let is_reference = matches!(ty, Type::Reference(_));
        let is_static = is_static_reference(ty);
        let optional = generic_argument(ty, "Option").map(peel);
        let is_option =
            optional.is_some_and(|ty| matches!(ty, Type::Reference(_)) && !is_static_reference(ty));
        Arg {
            name,
            pat: Some((*arg.pat).clone()),
            bindings,
            mutability: None,
            attrs: arg.attrs.clone(),
            ty: Some((*arg.ty).clone()),
            is_reference,
            hold: match (is_static, is_reference, is_option) {
                (false, true, _) => Hold::Copy,
                (_, _, true) => Hold::CopyOption,
                _ => Hold::Move,
            },
            identity: if is_static { Identity::Static } else { Identity::Value },
        }
    }
}

/// One element of the key.
pub(crate) enum Element {
    /// The argument of this index.
    Arg(usize),
    /// An element of `key = ..`.
    Expr(Expr),
}

/// All that the expansion needs to know.
pub(crate) struct Model {
    pub(crate) function: Function,
    pub(crate) form: Form,
    /// The type of the outcome.
    pub(crate) output: Type,
    pub(crate) args: Vec<Arg>,
    pub(crate) key: Vec<Element>,
    /// `skip(..)`, as it was written.
    pub(crate) skip: Vec<Ident>,
    pub(crate) reducer: Option<Expr>,
    /// Each with the name of its option.
    pub(crate) timeout: Option<(Ident, Time)>,
    pub(crate) detached: Option<(Ident, Expr)>,
    pub(crate) meter: Option<(Ident, Expr)>,
    pub(crate) krate: Option<Path>,
    expressions: TokenStream,
}

impl Model {
    pub(crate) fn new(options: Args, function: Function) -> Self {
        let declared = match &function.sig.output {
            ReturnType::Default => Type::Tuple(syn::TypeTuple {
                attrs: Vec::new(),
                paren_token: token::Paren(at(function.sig.ident.span())),
                elems: Punctuated::new(),
            }),
            ReturnType::Type(_, ty) => (**ty).clone(),
        };
        let (form, output) =
            match (function.sig.asyncness, boxed_output(&declared), boxed_body(&function.body)) {
                (Some(_), ..) => (Form::Async, declared),
                (None, Some(output), Some(body)) => (Form::Boxed(body), output),
                _ => (Form::Blocking, declared),
            };
        let mut args: Vec<Arg> = (function.sig.inputs.iter().enumerate())
            .map(|(index, arg)| match arg {
                FnArg::Receiver(receiver) => Arg::receiver(receiver),
                FnArg::Typed(arg) => Arg::typed(index, arg),
            })
            .collect();
        let Args { key, reducer, timeout, detached, meter, .. } = &options;
        let timeout = timeout.as_ref().map(|(_, time)| time.expand(&TokenStream::new()));
        let detached = detached.as_ref().map(|(_, detached)| detached);
        let meter = meter.as_ref().map(|(_, meter)| meter);
        let expressions = quote!(#key #reducer #timeout #detached #meter);
        for arg in &mut args {
            // We use what the user has called unused. Under a name of ours, which none of our
            // locals has, no lint takes offence; unless an option has to find it.
            if arg.name.to_string().starts_with('_') && !mentions(expressions.clone(), &arg.name) {
                arg.name.set_span(at(arg.name.span()));
            }
        }
        let reducer_is_self = options.reducer.as_ref().is_some_and(is_field_of_self);
        let key = match options.key {
            Some(key) => elements(key).into_iter().map(Element::Expr).collect(),
            None => (args.iter().enumerate())
                .filter(|(_, arg)| !(arg.is_self() && reducer_is_self))
                .filter(|(_, arg)| !options.skip.iter().any(|name| arg.is_called(name)))
                .map(|(index, _)| Element::Arg(index))
                .collect(),
        };
        Model {
            function,
            form,
            output,
            args,
            key,
            skip: options.skip,
            reducer: options.reducer,
            timeout: options.timeout,
            detached: options.detached,
            meter: options.meter,
            krate: options.krate,
            expressions,
        }
    }

    /// Whether the argument is a reference, or a number by the name of its type: then it can be copied, which the compiler is asked
    /// as well, and nobody minds when it goes.
    pub(crate) fn is_plain(&self, arg: &Arg) -> bool {
        const NUMBERS: [&str; 16] = [
            "u8", "u16", "u32", "u64", "u128", "usize", "i8", "i16", "i32", "i64", "i128", "isize",
            "f32", "f64", "bool", "char",
        ];
        let name = match arg.ty.as_ref().map(peel) {
            Some(Type::Path(path)) => path.path.get_ident(),
            _ => None,
        };
        let is_number = name.is_some_and(|name| {
            let mut generics = self.function.sig.generics.type_params();
            NUMBERS.iter().any(|number| name == number)
                && !generics.any(|generic| generic.ident == *name)
        });
        is_number || arg.is_reference || arg.hold == Hold::CopyOption
    }

    /// Whether the whole argument is in the key by default.
    pub(crate) fn has_in_key(&self, arg: usize) -> bool {
        self.key.iter().any(|element| matches!(element, Element::Arg(index) if *index == arg))
    }

    /// Whether the function sets terms of its own.
    pub(crate) fn has_terms(&self) -> bool {
        self.timeout.is_some() || self.detached.is_some()
    }

    /// Whether an expression of the options names `name`.
    pub(crate) fn options_name(&self, name: &Ident) -> bool {
        mentions(self.expressions.clone(), name)
    }
}

/// Names of ours live in a world of their own, and are shown where `span` is.
pub(crate) fn at(span: Span) -> Span {
    Span::mixed_site().located_at(span)
}

/// Where `tokens` begin.
pub(crate) fn first_span(tokens: impl ToTokens) -> Span {
    let first = tokens.into_token_stream().into_iter().next();
    first.map_or_else(Span::call_site, |token| token.span())
}

/// The type without the groups that a macro and parentheses leave around it.
pub(crate) fn peel(ty: &Type) -> &Type {
    match ty {
        Type::Group(group) => peel(&group.elem),
        Type::Paren(paren) => peel(&paren.elem),
        other => other,
    }
}

fn is_static_reference(ty: &Type) -> bool {
    let Type::Reference(reference) = ty else {
        return false;
    };
    reference.lifetime.as_ref().is_some_and(|lifetime| lifetime.ident == "static")
}

/// `T` of `path::to::Name<T>`.
pub(crate) fn generic_argument<'a>(ty: &'a Type, name: &str) -> Option<&'a Type> {
    let Type::Path(path) = peel(ty) else {
        return None;
    };
    let last = path.path.segments.last().filter(|last| last.ident == name)?;
    match &last.arguments {
        PathArguments::AngleBracketed(arguments) => match arguments.args.first()? {
            GenericArgument::Type(ty) => Some(ty),
            _ => None,
        },
        _ => None,
    }
}

/// `T` of `Pin<Box<dyn Future<Output = T> + ..>>`.
pub(crate) fn boxed_output(ty: &Type) -> Option<Type> {
    let Type::TraitObject(object) = peel(generic_argument(generic_argument(ty, "Pin")?, "Box")?)
    else {
        return None;
    };
    object.bounds.iter().find_map(|bound| {
        let TypeParamBound::Trait(bound) = bound else {
            return None;
        };
        let future = bound.path.segments.last().filter(|last| last.ident == "Future")?;
        let PathArguments::AngleBracketed(arguments) = &future.arguments else {
            return None;
        };
        arguments.args.iter().find_map(|argument| match argument {
            GenericArgument::AssocType(output) if output.ident == "Output" => {
                Some(output.ty.clone())
            }
            _ => None,
        })
    })
}

fn boxed_body(body: &TokenStream) -> Option<Boxed> {
    let mut before: Vec<TokenTree> = body.clone().into_iter().collect();
    let Some(TokenTree::Group(call)) = before.pop() else {
        return None;
    };
    let mut inside: Vec<TokenTree> = call.stream().into_iter().collect();
    let Some(TokenTree::Group(block)) = inside.pop() else {
        return None;
    };
    let is_pin = matches!(before.last(), Some(TokenTree::Ident(pin)) if pin == "pin")
        && !before.iter().any(is_statement_end);
    let is_async = matches!(&inside[..], [TokenTree::Ident(a), TokenTree::Ident(m)] if a == "async" && m == "move");
    (is_pin && is_async && block.delimiter() == Delimiter::Brace).then(|| Boxed {
        before: before.into_iter().collect(),
        asyncness: inside.into_iter().collect(),
        block,
        span: call.span(),
    })
}

fn is_statement_end(token: &TokenTree) -> bool {
    matches!(token, TokenTree::Punct(punct) if punct.as_char() == ';')
}

fn elements(key: Expr) -> Vec<Expr> {
    match key {
        Expr::Group(group) => elements(*group.expr),
        Expr::Tuple(ExprTuple { elems, .. }) => elems.into_iter().collect(),
        other => vec![other],
    }
}

/// `self.field`, and a reference to it: every instance has its own, so it stands for the instance.
fn is_field_of_self(expr: &Expr) -> bool {
    match expr {
        Expr::Group(group) => is_field_of_self(&group.expr),
        Expr::Paren(paren) => is_field_of_self(&paren.expr),
        Expr::Reference(reference) => is_field_of_self(&reference.expr),
        Expr::Field(field) => match &*field.base {
            Expr::Path(path) => path.path.is_ident("self"),
            base => is_field_of_self(base),
        },
        _ => false,
    }
}

/// Whether `name` is anywhere in `tokens`.
pub(crate) fn mentions(tokens: TokenStream, name: &Ident) -> bool {
    tokens.into_iter().any(|token| match token {
        TokenTree::Ident(ident) => ident == *name,
        TokenTree::Group(group) => mentions(group.stream(), name),
        _ => false,
    })
}

fn bindings(pat: &Pat) -> Vec<Ident> {
    struct Bindings(Vec<Ident>);

    impl<'ast> Visit<'ast> for Bindings {
        fn visit_pat_ident(&mut self, pat: &'ast PatIdent) {
            self.0.push(pat.ident.clone());
            visit::visit_pat_ident(self, pat);
        }
    }

    let mut bindings = Bindings(Vec::new());
    bindings.visit_pat(pat);
    bindings.0
}
