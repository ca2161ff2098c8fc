//! `#[reduceable]`
//!
//! # Why it looks like this
//!
//! - **The body stays inline.** A function next to it could name neither the generics of an `impl`
//!   nor `Self`; inline, no type of an argument is ever repeated.
//! - **A closure identifies the function.** Its type has every generic around it, so two
//!   instantiations never meet, and none of them has to be named.
//! - **The return type is said first**, by a `return` that never happens, so that `?` and coercions
//!   infer as they did in the function.

use proc_macro2::{Ident, Span, TokenStream};
use quote::{ToTokens, quote, quote_spanned};
use syn::visit_mut::{self, VisitMut};
use syn::{Expr, Pat, PatIdent};

use super::{Support, binding_attrs, block, cfgs, ident, is_any, receiver, relocate, with_body};
use crate::model::{
    Arg, Boxed, Element, Form, Function, Hold, Identity, Model, at, first_span, mentions,
};

/// As many elements as a tuple can have and still be a key.
const WIDEST: usize = 12;

pub(super) fn expand(model: &Model) -> TokenStream {
    let expansion = Expansion {
        model,
        support: Support(model.krate.as_ref()),
        span: at(model.function.sig.ident.span()),
        output_span: at(first_span(&model.output)),
    };
    let Function { body, brace, .. } = &model.function;
    let body = match &model.form {
        Form::Async => expansion.waiting(body.clone(), brace.span.join()),
        Form::Boxed(Boxed { before, asyncness, block, span }) => {
            let waiting = expansion.waiting(block.stream(), block.span());
            quote_spanned!(*span=> #before(#asyncness { #waiting }))
        }
        Form::Blocking => expansion.blocking(body.clone(), brace.span.join()),
    };
    with_body(&model.function, &model.args, &model.form, body)
}

struct Expansion<'a> {
    model: &'a Model,
    support: Support<'a>,
    /// The name of the function: what is about no other token is shown here.
    span: Span,
    /// The return type.
    output_span: Span,
}

impl Expansion<'_> {
    // Input:   #[reduceable]
    //          async fn user(name: String, tag: &str) -> Result<User, Error> { body }
    //
    // Output:  async fn user(name: String, tag: &str) -> Result<User, Error> {
    //              let reducer = support::global();
    //              let flight = pin!(support::no_flight::<Result<User, Error>>());
    //              let flight = {
    //                  let marker = || {};
    //                  let mut flight = flight;
    //                  let mut miss = None;
    //                  {
    //                      let site = support::site(&marker);
    //                      let key = (support::probe(&name).part(), support::probe(&tag).part());
    //                      support::lookup::<Result<User, Error>, ..>(&mut miss, flight.as_mut(), reducer, site, key);
    //                  }
    //                  match miss {
    //                      None => flight,
    //                      Some(ref mut miss) => {
    //                          match support::start_lent::<Result<User, Error>, ..>(miss, flight, &marker, move |key| {
    //                              let kept1 = support::probe(&tag).lent();
    //                              async move {
    //                                  if false { return never::<Result<..>>(); }
    //                                  let name = name;
    //                                  let tag = kept1.get(&key.1);
    //                                  { body }
    //                              }
    //                          }) {
    //                              Landed(value) => return value,
    //                              Flying(flight) => flight,
    //                          }
    //                      }
    //                  }
    //              };
    //              return flight.await;
    //          }
    //
    // No borrow of an argument outlives the lookup, so who may lead moves what it owns. Nothing but
    // the reducer, the arguments and the flight is held across the await: callers who join stay small. The key borrows
    // from places that end before it: an argument's own would be held beside what the future was made of. The flight is
    // pinned before there is one, and never moved; and `flight` is moved before it is borrowed, or the future would hold
    // it twice.
    //
    // If all arguments are borrowed, or numbers, there is no look-up before: `support::call_lent` takes the key and the
    // closure.
    //
    // With `timeout` or `detached`, the second line is
    //
    //              let reducer = &support::on_terms(reducer, Some(timeout), Some(detached));
    //
    // and the last
    //
    //              return support::fallible::<Result<User, Error>>(flight).await;
    //
    // With `meter`, the leader clones it before it moves the arguments, and the work begins with
    //
    //              let permit = meter.acquire().await;
    //              let _ = &permit;
    fn waiting(&self, body: TokenStream, body_span: Span) -> TokenStream {
        let Model { args, output, .. } = self.model;
        let s = self.support.at(self.span);
        let reducer = self.reducer();
        let copies: TokenStream =
            args.iter().enumerate().map(|(index, arg)| self.copy(index, arg)).collect();
        let bindings = args.iter().enumerate().map(|(index, arg)| self.bind(index, arg));
        let body = match args.first() {
            Some(arg) if arg.is_self() => receiver::rename(body),
            _ => body,
        };
        let body = block(body, body_span);
        let (meter, permit) = self.meter();
        let lends = (0..args.len()).any(|index| self.element(index).is_some());
        // Nothing that is borrowed is but a number, as a rule. What is moved and in the key may be; and of what is not in it
        // it matters whether anybody minds when it is dropped.
        let may_be_free = meter.is_none() && !lends;
        let moved = args
            .iter()
            .enumerate()
            .filter(|(index, arg)| arg.hold == Hold::Move && !self.model.has_in_key(*index));
        let minds = moved.map(|(_, arg)| self.minds(arg));
        // Before anything borrows from an argument.
        let minds =
            may_be_free.then(|| quote_spanned!(self.span=> let minds = false #(| #minds)*;));
        let flying = quote_spanned!(self.output_span=> &mut miss, flight.as_mut());
        let lookup = match may_be_free {
            true => self.lookup("lookup_if_dear", &flying, quote_spanned!(self.span=> , minds)),
            false => self.lookup("lookup", &flying, TokenStream::new()),
        };
        let work = quote_spanned! {self.span=>
            async move {
                if false {
                    return #s::never::<#output>();
                }
                #permit
                #(#bindings)*
                #body
            }
        };
        // With nothing to copy and nothing to lend, the work itself is there before it is known who leads.
        let is_there = !lends && copies.is_empty();
        // What is borrowed, or can be copied, need not be moved out of the way before that.
        let stays = |arg: &Arg| arg.hold != Hold::Move || self.model.is_plain(arg) && !is_there;
        let all_stay = meter.is_none()
            && args.iter().all(stays)
            && self.model.key.iter().all(|element| matches!(element, Element::Arg(_)));
        let key =
            if lends { quote_spanned!(self.span=> key) } else { quote_spanned!(self.span=> _) };
        let build = quote_spanned!(self.span=> move |#key| { #copies #work });
        let terms = self.terms();
        let flight = match self.model.has_terms() {
            true => self.call("fallible", 0, &quote_spanned!(self.output_span=> flight)),
            false => quote_spanned!(self.span=> flight),
        };
        let started = if all_stay {
            let key = self.key();
            let arguments =
                quote_spanned!(self.output_span=> flight, reducer, &marker, #key, #build);
            self.call("call_lent", 4, &arguments)
        } else if is_there {
            let arguments = quote_spanned!(self.output_span=> miss, flight, &marker, #work);
            self.call("start", 4, &arguments)
        } else {
            let arguments = quote_spanned!(self.output_span=> miss, flight, &marker, #build);
            self.call("start_lent", 5, &arguments)
        };
        let started = quote_spanned! {self.span=>
            match #started {
                #s::Started::Landed(value) => return value,
                #s::Started::Flying(flight) => flight,
            }
        };
        let looked = match all_stay {
            true => started,
            false => quote_spanned! {self.span=>
                #minds
                let mut flight = flight;
                let mut miss = #s::std::option::Option::None;
                { #lookup }
                match miss {
                    #s::std::option::Option::None => flight,
                    #s::std::option::Option::Some(ref mut miss) => {
                        #meter
                        #started
                    }
                }
            },
        };
        let scoped = args.iter().map(|arg| self.scope(arg));
        let slot = self.call("no_flight", 0, &TokenStream::new());
        quote_spanned! {self.span=>
            #reducer
            #terms
            let flight = #s::std::pin::pin!(#slot);
            let flight = {
                #(#scoped)*
                let marker = || {};
                #looked
            };
            return #flight.await;
        }
    }

    // Input:   #[reduceable]
    //          fn render(page: u32, theme: &Theme) -> Image { body }
    //
    // Output:  fn render(page: u32, theme: &Theme) -> Image {
    //              let reducer = support::global();
    //              let mut found = Unasked;
    //              { support::lookup_blocking::<Image, ..>(&mut found, reducer, site, key); }
    //              return match found {
    //                  Unasked => never(),
    //                  Hit(outcome) => outcome,
    //                  Miss(ref mut miss) => support::run::<Image, ..>(miss, &marker, move || -> Image {
    //                      let page = page;
    //                      let theme = theme;
    //                      { body }
    //                  }),
    //              };
    //          }
    //
    // The leader runs the body on its own thread before it returns, so the body borrows what the
    // function does.
    fn blocking(&self, body: TokenStream, body_span: Span) -> TokenStream {
        let Model { args, output, .. } = self.model;
        let s = self.support.at(self.span);
        let reducer = self.reducer();
        let found = quote_spanned!(self.output_span=> &mut found);
        let lookup = self.lookup("lookup_blocking", &found, TokenStream::new());
        let bindings = args.iter().enumerate().map(|(index, arg)| self.bind(index, arg));
        let body = block(body, body_span);
        let work = quote_spanned!(self.span=> move || -> #output { #(#bindings)* #body });
        let run = self.call("run", 4, &quote_spanned!(self.output_span=> miss, &marker, #work));
        quote_spanned! {self.span=>
            #reducer
            let marker = || {};
            let mut found = #s::LookupBlocking::Unasked;
            { #lookup }
            return match found {
                #s::LookupBlocking::Unasked => #s::never(),
                #s::LookupBlocking::Hit(outcome) => outcome,
                #s::LookupBlocking::Miss(ref mut miss) => #run,
            };
        }
    }

    /// `let reducer = ..;`, from whatever dereferences to one.
    fn reducer(&self) -> TokenStream {
        let Some(expr) = &self.model.reducer else {
            let s = self.support.at(self.span);
            return quote_spanned!(self.span=> let reducer = #s::global(););
        };
        let span = at(first_span(expr));
        let s = self.support.at(span);
        // An argument that moves into the shared call cannot stay borrowed: then a clone of the
        // handle is.
        let named = |name: &Ident| mentions(expr.to_token_stream(), name);
        let moves = |arg: &Arg| !arg.is_reference && arg.bindings.iter().any(named);
        if self.model.args.iter().any(moves) {
            let clone =
                quote_spanned!(span=> <#s::Reducer as #s::std::clone::Clone>::clone(&(#expr)));
            let clone = self.among_bindings(clone);
            quote_spanned! {span=>
                let reducer = #clone;
                let reducer = &reducer;
            }
        } else {
            let borrowed = self.among_bindings(quote_spanned!(span=> &(#expr)));
            quote_spanned!(span=> let reducer: &#s::Reducer = #borrowed;)
        }
    }

    /// The reducer, on the function's own terms.
    fn terms(&self) -> Option<TokenStream> {
        let Model { timeout, detached, .. } = self.model;
        let first = match (timeout, detached) {
            (Some((option, _)), _) | (None, Some((option, _))) => at(option.span()),
            (None, None) => return None,
        };
        let s = self.support.at(first);
        let time = timeout.as_ref().map(|(_, time)| time.expand(&s));
        let stays = detached.as_ref().map(|(_, stays)| stays.to_token_stream());
        let (timeout, time) = self.term("timeout", &quote!(time::Duration), time);
        let (detached, stays) = self.term("detached", &quote!(primitive::bool), stays);
        let terms = quote_spanned!(first=> &#s::on_terms(reducer, #time, #stays));
        let terms = self.among_bindings(quote_spanned!(first=> { #timeout #detached #terms }));
        Some(quote_spanned!(self.span=> let reducer = #terms;))
    }

    /// `let meter = ..;` for the leader, and what its work begins with.
    fn meter(&self) -> (Option<TokenStream>, Option<TokenStream>) {
        let Some((_, expr)) = &self.model.meter else {
            return (None, None);
        };
        let span = at(first_span(expr));
        let s = self.support.at(span);
        let meter = self.among_bindings(quote_spanned!(span=> #s::meter(&(#expr))));
        (
            Some(quote_spanned!(span=> let meter = #meter;)),
            // A name that does not begin like those that the user calls unused, which are of our kind as well.
            Some(quote_spanned!(span=> let permit = meter.acquire().await; let _ = &permit;)),
        )
    }

    /// `let name: Type = value;`, and `Some(name)`: an error about one term is about nothing else then.
    fn term(
        &self,
        name: &str,
        ty: &TokenStream,
        value: Option<TokenStream>,
    ) -> (TokenStream, TokenStream) {
        let span = value.as_ref().map_or(self.span, |value| at(first_span(value)));
        let (s, name, ty) = (self.support.at(span), ident(name, span), relocate(ty.clone(), span));
        match value {
            Some(value) => (
                quote_spanned!(span=> let #name: #s::std::#ty = #value;),
                quote_spanned!(span=> #s::std::option::Option::Some(#name)),
            ),
            None => (TokenStream::new(), quote_spanned!(span=> #s::std::option::Option::None)),
        }
    }

    /// The call that finds the flight or claims its place, and puts it in `found`.
    fn lookup(&self, verb: &str, found: &TokenStream, more: TokenStream) -> TokenStream {
        let s = self.support.at(self.span);
        let key = self.key();
        let arguments = quote_spanned!(self.output_span=> #found, reducer, site, #key #more);
        let lookup = self.call(verb, 1, &arguments);
        // Put there, and not the value of a block: what the key has made is dropped at the block's end, and
        // if that panics rustc forgets the value, and with it the call's stake in a flight.
        let lookup = self.among_bindings(quote_spanned!(self.span=> #lookup;));
        quote_spanned! {self.span=>
            let site = #s::site(&marker);
            #lookup
        }
    }

    /// `support::verb::<Output, _..>(arguments)`, shown at the return type.
    ///
    /// What that type lacks is said of the same tokens by every such call, and so by rustc only
    /// once.
    fn call(&self, verb: &str, inferred: usize, arguments: &TokenStream) -> TokenStream {
        let span = self.output_span;
        let s = self.support.at(span);
        let (verb, output) = (ident(verb, span), &self.model.output);
        let inferred = std::iter::repeat_n(quote_spanned!(span=> _), inferred);
        quote_spanned!(span=> #s::#verb::<#output, #(#inferred),*>(#arguments))
    }

    /// One part for each element of the key.
    fn key(&self) -> TokenStream {
        let parts = self.model.key.iter().map(|element| match element {
            Element::Arg(index) => self.argument_part(&self.model.args[*index]),
            Element::Expr(expr) => self.expression_part(expr),
        });
        tuple(&parts.collect::<Vec<_>>(), self.span)
    }

    fn argument_part(&self, arg: &Arg) -> TokenStream {
        let name = &arg.name;
        let span = at(name.span());
        let s = self.support.at(span);
        let and = (!(arg.is_self() && arg.is_reference)).then(|| quote_spanned!(span=> &));
        let part = match arg.identity {
            Identity::Value => quote_spanned!(span=> #s::probe(&#name).part()),
            Identity::Static => quote_spanned!(span=> #s::static_part(&#name)),
            Identity::Receiver => quote_spanned!(span=> #s::self_part(#and #name)),
            Identity::Address => quote_spanned!(span=> #s::probe(&#s::ByPtr(#and #name)).part()),
        };
        let cfgs = cfgs(arg);
        if cfgs.is_empty() {
            return part;
        }
        // An element of a tuple cannot be removed.
        let conditions = cfgs.iter().filter_map(|attr| attr.meta.require_list().ok());
        let conditions = conditions.map(|list| &list.tokens);
        quote_spanned! {span=> {
            #(#cfgs)* { #part }
            #[cfg(not(all(#(#conditions),*)))] { #s::no_part() }
        }}
    }

    /// Located at both ends of the expression, so that an error underlines all of it.
    fn expression_part(&self, expr: &Expr) -> TokenStream {
        let first = at(first_span(expr));
        let last = expr.to_token_stream().into_iter().last();
        let last = last.map_or(first, |token| at(token.span()));
        let s = self.support.at(first);
        let probe = quote_spanned!(first=> #s::probe);
        let argument = quote_spanned!(first=> &(#expr));
        quote_spanned!(last=> #probe(#argument).part())
    }

    /// Options may name what a pattern binds, which otherwise the body alone takes apart.
    fn among_bindings(&self, value: TokenStream) -> TokenStream {
        let args = self.model.args.iter();
        let borrowed: Vec<_> = args.filter_map(|arg| self.borrow_bindings(arg)).collect();
        if borrowed.is_empty() {
            return value;
        }
        quote_spanned!(self.span=> { #(#borrowed)* #value })
    }

    fn borrow_bindings(&self, arg: &Arg) -> Option<TokenStream> {
        struct Plain;

        impl VisitMut for Plain {
            fn visit_pat_ident_mut(&mut self, pat: &mut PatIdent) {
                pat.by_ref = None;
                pat.mutability = None;
                visit_mut::visit_pat_ident_mut(self, pat);
            }
        }

        let Arg { name, bindings, .. } = arg;
        if !arg.is_destructured() || !bindings.iter().any(|name| self.model.options_name(name)) {
            return None;
        }
        let mut pat = arg.pat.clone()?;
        Plain.visit_pat_mut(&mut pat);
        let span = at(name.span());
        let cfgs = cfgs(arg);
        Some(quote_spanned! {span=>
            #(#cfgs)* #[allow(clippy::pattern_type_mismatch)] let #pat = &#name;
            #(#cfgs)* let _ = (#(&#bindings,)*);
        })
    }

    /// The element of the key that lends a borrowed argument to the body, which needs no copy of its own then.
    fn element(&self, index: usize) -> Option<TokenStream> {
        let Model { args, key, form, .. } = self.model;
        let arg = &args[index];
        let is_lent = arg.hold != Hold::Move
            && matches!(arg.identity, Identity::Value | Identity::Receiver)
            && !matches!(form, Form::Blocking)
            && cfgs(arg).is_empty();
        let is_it = |element: &Element| matches!(element, Element::Arg(at) if *at == index);
        let at = key.iter().position(is_it).filter(|_| is_lent && key.len() <= WIDEST)?;
        let span = self::at(arg.name.span());
        let key = ident("key", span);
        Some(match key_of_one(self.model) {
            true => quote_spanned!(span=> &*#key),
            false => {
                let at = proc_macro2::Literal::usize_unsuffixed(at);
                quote_spanned!(span=> &#key.#at)
            }
        })
    }

    /// A place for an argument that the key may borrow, for as long as it may. Only of what can be copied, which has no destructor.
    fn scope(&self, arg: &Arg) -> Option<TokenStream> {
        if arg.is_self() || !self.model.is_plain(arg) {
            return None;
        }
        let name = &arg.name;
        let span = at(name.span());
        let s = self.support.at(span);
        // `#[expect]` is fulfilled, and `#[warn]` heard, where the body binds the argument.
        let attrs = arg.attrs.iter().filter(|attr| is_any(attr, &["cfg", "cfg_attr", "allow"]));
        Some(quote_spanned! {span=>
            #(#attrs)*
            #[allow(clippy::shadow_reuse, clippy::shadow_same, clippy::shadow_unrelated)]
            let #name = #s::copied(#name);
        })
    }

    /// Whether anybody could mind when an argument is dropped.
    fn minds(&self, arg: &Arg) -> TokenStream {
        let name = &arg.name;
        let span = at(name.span());
        let (s, cfgs) = (self.support.at(span), cfgs(arg));
        let output = &self.model.output;
        let conditions = cfgs.iter().filter_map(|attr| attr.meta.require_list().ok());
        let conditions: Vec<_> = conditions.map(|list| &list.tokens).collect();
        let minds = quote_spanned! {span=> {
            let minds = #s::Minds::new();
            if false {
                minds.is_of(#name);
                return #s::never::<#output>();
            }
            minds.get()
        }};
        if cfgs.is_empty() {
            return minds;
        }
        quote_spanned! {span=> {
            #(#cfgs)* { #minds }
            #[cfg(not(all(#(#conditions),*)))] { false }
        }}
    }

    /// The copy that the shared call keeps of a borrowed argument, or what it needs of one that the key has.
    fn copy(&self, index: usize, arg: &Arg) -> TokenStream {
        if self.element(index).is_some() {
            if arg.identity == Identity::Receiver {
                // The key has it as it is.
                return TokenStream::new();
            }
            let name = &arg.name;
            let span = at(name.span());
            let (s, kept) = (self.support.at(span), kept(index, arg));
            return quote_spanned!(span=> let #kept = #s::probe(&#name).lent(););
        }
        let verb = match arg.hold {
            Hold::Move => return TokenStream::new(),
            Hold::Copy => "capture",
            Hold::CopyOption => "capture_option",
        };
        let name = &arg.name;
        let span = at(name.span());
        let s = self.support.at(span);
        let (cfgs, kept, verb) = (cfgs(arg), kept(index, arg), ident(verb, span));
        quote_spanned!(span=> #(#cfgs)* let #kept = #s::#verb(#name);)
    }

    /// Binds an argument in the body as the function declared it, with the user's own tokens: lints
    /// and editors see one binding there.
    fn bind(&self, index: usize, arg: &Arg) -> TokenStream {
        let is_blocking = matches!(self.model.form, Form::Blocking);
        let name = &arg.name;
        let span = at(name.span());
        let value = if arg.hold == Hold::Move || is_blocking {
            quote_spanned!(span=> #name)
        } else {
            let kept = kept(index, arg);
            match self.element(index) {
                Some(element) if arg.identity == Identity::Receiver => element,
                element => quote_spanned!(span=> #kept.get(#element)),
            }
        };
        let Some(pat) = &arg.pat else {
            let (mutability, this) = (arg.mutability, receiver::this(name.span()));
            return match is_blocking {
                true => TokenStream::new(),
                false => quote_spanned! {span=>
                    #[allow(clippy::no_effect_underscore_binding)]
                    let #mutability #this = #value;
                },
            };
        };
        let (cfgs, attrs) = (cfgs(arg), binding_attrs(arg));
        // That a parameter has become a `let` is not the user's doing.
        let quiet = quote_spanned! {span=>
            #[allow(
                clippy::no_effect_underscore_binding,
                clippy::shadow_reuse,
                clippy::shadow_same,
                clippy::shadow_unrelated
            )]
        };
        let bound = match pat {
            Pat::Wild(_) => quote_spanned!(span=> #(#cfgs)* let #name = #value;),
            pat if arg.is_destructured() => quote_spanned! {span=>
                #(#cfgs)* let #name = #value;
                #(#attrs)* #quiet let #pat = #name;
            },
            pat => quote_spanned!(span=> #(#attrs)* #quiet let #pat = #value;),
        };
        // What the options use is not unused, even if the body leaves it alone.
        let used = arg.bindings.iter().filter(|name| self.model.options_name(name));
        let used = used.map(|name| quote_spanned!(span=> #(#cfgs)* let _ = &#name;));
        quote!(#bound #(#used)*)
    }
}

fn key_of_one(model: &Model) -> bool {
    model.key.len() == 1
}

fn kept(index: usize, arg: &Arg) -> Ident {
    ident(&format!("kept{index}"), arg.name.span())
}

/// The only element, or a tuple: of tuples, if they are too many for one.
fn tuple(elements: &[TokenStream], span: Span) -> TokenStream {
    match elements {
        [element] => element.clone(),
        _ if elements.len() <= WIDEST => quote_spanned!(span=> (#(#elements),*)),
        _ => {
            let rows = elements.chunks(WIDEST).map(|row| tuple(row, span));
            tuple(&rows.collect::<Vec<_>>(), span)
        }
    }
}
