//! The options of `#[aggregate]`.

use proc_macro2::Ident;
use syn::parse::{Parse, ParseStream};
use syn::{Error, Expr, ExprLit, Lit, Path, Result};

use super::{each_option, krate, value};
use crate::time::Time;

const EXPECTED: &str = "expected `leeway = ..`, `max_count = ..`, `max_concurrent = ..`, `max_waiting = ..`, `in = ..` or `crate = ..`";

/// `#[aggregate(..)]`
#[derive(Default)]
pub(crate) struct AggregateArgs {
    /// `leeway = time`
    pub(crate) leeway: Option<Time>,
    /// `max_count = expr`
    pub(crate) max_count: Option<Expr>,
    /// `max_concurrent = expr`
    pub(crate) max_concurrent: Option<Expr>,
    /// `max_waiting = expr`
    pub(crate) max_waiting: Option<Expr>,
    /// `in = expr`
    pub(crate) place: Option<Expr>,
    /// `crate = path`
    pub(crate) krate: Option<Path>,
}

impl Parse for AggregateArgs {
    fn parse(input: ParseStream) -> Result<Self> {
        let mut args = AggregateArgs::default();
        each_option(input, EXPECTED, |option| {
            match option.to_string().as_str() {
                "leeway" => {
                    let time = value(option, "leeway = \"10ms\"", input)?;
                    args.leeway = Some(Time::new("leeway", time)?);
                }
                "max_count" => args.max_count = Some(count(option, "batch", input)?),
                "max_concurrent" => {
                    args.max_concurrent = Some(count(option, "running batch", input)?);
                }
                "max_waiting" => args.max_waiting = Some(count(option, "waiting call", input)?),
                "in" => args.place = Some(value(option, "in = self.users", input)?),
                "crate" => args.krate = Some(krate(input)?),
                _ => return Ok(false),
            }
            Ok(true)
        })?;
        Ok(args)
    }
}

/// A number, not zero as far as tokens tell.
fn count(option: &Ident, of: &str, input: ParseStream) -> Result<Expr> {
    let expr = value(option, &format!("{option} = 100"), input)?;
    if let Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) = &expr {
        if number.base10_parse::<u128>().is_ok_and(|number| number == 0) {
            return Err(Error::new(
                number.span(),
                format!(
                    "with no {of} at all no call is ever answered: leave `{option}` out, or give it a number"
                ),
            ));
        }
    }
    Ok(expr)
}
