//! The options between the parentheses of the attribute.

use proc_macro2::Ident;
use syn::ext::IdentExt;
use syn::parse::{Parse, ParseStream};
use syn::punctuated::Punctuated;
use syn::{Error, Expr, Path, Result, Token, parenthesized, parse_quote_spanned};

use crate::time::Time;

mod aggregate;

pub(crate) use aggregate::AggregateArgs;

const EXPECTED: &str = "expected `key = ..`, `skip(..)`, `reducer = ..`, `timeout = ..`, `detached`, `meter = ..` or `crate = ..`";

/// `#[reduceable(..)]`
#[derive(Default)]
pub(crate) struct Args {
    /// `key = expr`
    pub(crate) key: Option<Expr>,
    /// `skip(argument, ..)`
    pub(crate) skip: Vec<Ident>,
    /// `reducer = expr`
    pub(crate) reducer: Option<Expr>,
    /// `timeout = time`
    pub(crate) timeout: Option<(Ident, Time)>,
    /// `detached`, `detached = expr`
    pub(crate) detached: Option<(Ident, Expr)>,
    /// `meter = expr`
    pub(crate) meter: Option<(Ident, Expr)>,
    /// `crate = path`
    pub(crate) krate: Option<Path>,
}

impl Parse for Args {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut args = Args::default();
        let given = each_option(input, EXPECTED, |option| {
            match option.to_string().as_str() {
                "key" => args.key = Some(value(option, "key = (id, page)", input)?),
                "skip" => args.skip = names(input)?,
                "reducer" => args.reducer = Some(value(option, "reducer = self.reducer", input)?),
                "timeout" => {
                    let time = Time::new("timeout", value(option, "timeout = \"2s\"", input)?)?;
                    args.timeout = Some((option.clone(), time));
                }
                "detached" => {
                    let detached = match input.peek(Token![=]) {
                        true => value(option, "detached = true", input)?,
                        false => parse_quote_spanned!(option.span()=> true),
                    };
                    args.detached = Some((option.clone(), detached));
                }
                "meter" => {
                    args.meter = Some((option.clone(), value(option, "meter = METER", input)?));
                }
                "crate" => args.krate = Some(krate(input)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        let late = given.iter().rfind(|option| *option == "key" || *option == "skip");
        match late {
            Some(late) if args.key.is_some() && given.iter().any(|option| option == "skip") => {
                Err(Error::new(
                    late.span(),
                    "`key` says all of the key, so there is nothing to `skip`; keep one of the two",
                ))
            }
            _ => Ok(args),
        }
    }
}

/// Hands over option after option, each once; `take` says whether it knows it. Gives their names.
fn each_option(
    input: ParseStream,
    expected: &str,
    mut take: impl FnMut(&Ident) -> Result<bool>,
) -> Result<Vec<Ident>> {
    let mut given: Vec<Ident> = Vec::new();
    while !input.is_empty() {
        let option = input.call(Ident::parse_any)?;
        if given.contains(&option) {
            return Err(Error::new(option.span(), format!("`{option}` is given twice")));
        }
        if !take(&option)? {
            let text = format!("unknown option `{option}`; {expected}");
            return Err(Error::new(option.span(), text));
        }
        given.push(option);
        if !input.is_empty() {
            input.parse::<Token![,]>()?;
        }
    }
    Ok(given)
}

/// After `crate`.
fn krate(input: ParseStream) -> Result<Path> {
    input.parse::<Token![=]>()?;
    input.call(Path::parse_mod_style)
}

fn value(option: &Ident, example: &str, input: ParseStream) -> Result<Expr> {
    let equals: Option<Token![=]> = input.parse()?;
    if equals.is_none() || input.is_empty() || input.peek(Token![,]) {
        return Err(Error::new(
            option.span(),
            format!("`{option}` needs an expression: `{example}`"),
        ));
    }
    input.parse()
}

fn names(input: ParseStream) -> Result<Vec<Ident>> {
    let content;
    parenthesized!(content in input);
    let names = Punctuated::<Ident, Token![,]>::parse_terminated_with(&content, Ident::parse_any)?;
    Ok(names.into_iter().collect())
}
