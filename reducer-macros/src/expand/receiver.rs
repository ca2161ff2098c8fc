//! `self` in a body that runs apart from its method.
//!
//! A local cannot be called `self`, so the body says `__self` instead. This works on tokens, since
//! macros in the body are nothing else, and leaves alone every `self` that means another one:
//! `self::` paths, and what is inside of nested functions, impls and traits.

use proc_macro2::{Delimiter, Group, Ident, Literal, Span, TokenStream, TokenTree};

/// What `self` is called in the body, hygienic as `self` was.
pub(super) fn this(span: Span) -> Ident {
    Ident::new("__self", span)
}

/// The body with every `self` of its own renamed.
pub(super) fn rename(body: TokenStream) -> TokenStream {
    renamed(body, false)
}

fn renamed(tokens: TokenStream, in_macro: bool) -> TokenStream {
    let mut tokens = tokens.into_iter().peekable();
    let mut out: Vec<TokenTree> = Vec::new();
    let mut in_item = false;
    while let Some(token) = tokens.next() {
        let is_call = matches!(out.last(), Some(TokenTree::Punct(punct)) if punct.as_char() == '!');
        out.push(match token {
            TokenTree::Ident(word) if in_item => TokenTree::Ident(word),
            TokenTree::Ident(word) if word == "self" && !starts_path(tokens.peek()) => {
                TokenTree::Ident(this(word.span()))
            }
            TokenTree::Ident(word) => {
                in_item = starts_item(&word, tokens.peek());
                TokenTree::Ident(word)
            }
            TokenTree::Group(group) if in_item => {
                in_item = group.delimiter() != Delimiter::Brace;
                TokenTree::Group(group)
            }
            TokenTree::Group(group) => {
                let mut inner =
                    Group::new(group.delimiter(), renamed(group.stream(), in_macro || is_call));
                inner.set_span(group.span());
                TokenTree::Group(inner)
            }
            TokenTree::Literal(literal) if in_macro => {
                TokenTree::Literal(renamed_in_format(literal))
            }
            TokenTree::Punct(punct) => {
                // `fn f();` in a trait.
                in_item &= punct.as_char() != ';';
                TokenTree::Punct(punct)
            }
            other => other,
        });
    }
    out.into_iter().collect()
}

fn starts_path(next: Option<&TokenTree>) -> bool {
    matches!(next, Some(TokenTree::Punct(punct)) if punct.as_char() == ':' && punct.spacing() == proc_macro2::Spacing::Joint)
}

/// `fn name`, `trait Name`, `impl ..`, `use module::{self}`, `pub(self)`; but not the type
/// `fn(u8)`.
fn starts_item(word: &Ident, next: Option<&TokenTree>) -> bool {
    match word.to_string().as_str() {
        "impl" | "use" | "pub" => true,
        "fn" | "trait" => matches!(next, Some(TokenTree::Ident(_))),
        _ => false,
    }
}

/// `"{self:?}"`: format strings name variables too.
fn renamed_in_format(literal: Literal) -> Literal {
    let text = literal.to_string();
    if !text.contains("{self}") && !text.contains("{self:") {
        return literal;
    }
    let text = text
        .replace("{self}", "{__self}")
        .replace("{self:", "{__self:")
        .replace("{{__self", "{{self");
    match text.parse::<Literal>() {
        Ok(mut renamed) => {
            renamed.set_span(literal.span());
            renamed
        }
        Err(_) => literal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use quote::quote;

    fn check(body: TokenStream, expected: TokenStream) {
        assert_eq!(rename(body).to_string(), expected.to_string());
    }

    #[test]
    fn every_self_of_the_body_is_renamed() {
        let body = quote!(let f: fn(u8) -> u8 = self.f; (self.0)(move || [self.x]));
        check(body, quote!(let f: fn(u8) -> u8 = __self.f; (__self.0)(move || [__self.x])));
        let body = quote!(log!("{self} {self:?} {{self}} {x}", self.y));
        check(body, quote!(log!("{__self} {__self:?} {{self}} {x}", __self.y)));
    }

    #[test]
    fn every_other_self_is_left_alone() {
        for body in [
            quote!(self::free(); use std::fmt::{self, Debug}; pub(self) struct S;),
            quote!(impl S { fn f(&self) -> u8 { self.0 } }),
            quote!(
                fn free(this: impl Fn(u8)) {
                    log!("{self}")
                }
            ),
            quote!(
                trait T {
                    fn f(&self);
                    fn g(&self) {
                        self.f()
                    }
                }
            ),
            quote!(let text = "{self}";),
        ] {
            check(body.clone(), body);
        }
        check(quote!(impl S { fn f(&self) {} } self.0), quote!(impl S { fn f(&self) {} } __self.0));
    }
}
