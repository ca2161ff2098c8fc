//! Times as literals: `"150ms"`.

use proc_macro2::TokenStream;
use quote::quote_spanned;
use syn::{Error, Expr, ExprLit, ExprPath, Lit, LitStr, Result};

use crate::model::{at, first_span};

/// The value of an option such as `timeout`, checked as far as tokens tell.
pub(crate) enum Time {
    /// `"150ms"`
    Nanos(u64, LitStr),
    /// Any other expression, which gives a `Duration`.
    Expr(Box<Expr>),
}

impl Time {
    /// Refuses what is no time, and a time that is over at once.
    pub(crate) fn new(option: &str, expr: Expr) -> Result<Self> {
        match peel(&expr) {
            Expr::Lit(ExprLit { lit: Lit::Str(text), .. }) => match nanos(&text.value()) {
                Some(0) => Err(over_at_once(option, &text.token())),
                Some(nanos) => Ok(Time::Nanos(nanos, text.clone())),
                None => Err(Error::new(
                    text.span(),
                    format!(
                        "`{}` is no time: write a number and one of `ms`, `s`, `m`, `h`, as in `{option} = \"150ms\"`, or an expression that gives a `Duration`",
                        text.token(),
                    ),
                )),
            },
            Expr::Lit(ExprLit { lit, .. }) => Err(Error::new(
                lit.span(),
                format!("a number says nothing of its unit: write `{option} = \"{}s\"`", bare(lit)),
            )),
            other if is_zero(other) => Err(over_at_once(option, other)),
            _ => Ok(Time::Expr(Box::new(expr))),
        }
    }

    /// A `Duration`. `support` is the path to the module of that name.
    pub(crate) fn expand(&self, support: &TokenStream) -> TokenStream {
        match self {
            Time::Nanos(nanos, text) => {
                let span = at(text.span());
                quote_spanned!(span=> #support::std::time::Duration::from_nanos(#nanos))
            }
            Time::Expr(expr) => {
                let span = at(first_span(expr));
                quote_spanned!(span=> #expr)
            }
        }
    }
}

fn over_at_once(option: &str, zero: &impl quote::ToTokens) -> Error {
    let why = format!("nothing is done in no time: leave `{option}` out, or give it a time");
    Error::new_spanned(zero, why)
}

/// A number as it goes before a unit.
fn bare(lit: &Lit) -> String {
    match lit {
        Lit::Int(number) => number.base10_digits().to_owned(),
        Lit::Float(number) => number.base10_digits().to_owned(),
        _ => "2".to_owned(),
    }
}

fn peel(expr: &Expr) -> &Expr {
    match expr {
        Expr::Group(group) => peel(&group.expr),
        Expr::Paren(paren) => peel(&paren.expr),
        other => other,
    }
}

/// `Duration::ZERO`, `Duration::from_secs(0)`.
fn is_zero(expr: &Expr) -> bool {
    let last = |path: &ExprPath| path.path.segments.last().map(|last| last.ident.to_string());
    match expr {
        Expr::Path(path) => {
            let names: Vec<_> = path.path.segments.iter().map(|name| &name.ident).collect();
            matches!(&names[..], [.., ty, zero] if *ty == "Duration" && *zero == "ZERO")
        }
        Expr::Call(call) => {
            let Expr::Path(function) = &*call.func else {
                return false;
            };
            let is_constructor = last(function).is_some_and(|name| name.starts_with("from_"));
            let zero = |arg: &Expr| match peel(arg) {
                Expr::Lit(ExprLit { lit: Lit::Int(number), .. }) => {
                    number.base10_parse::<u128>().is_ok_and(|number| number == 0)
                }
                Expr::Lit(ExprLit { lit: Lit::Float(number), .. }) => {
                    number.base10_parse::<f64>().is_ok_and(|number| number == 0.0)
                }
                _ => false,
            };
            is_constructor && call.args.len() == 1 && call.args.iter().all(zero)
        }
        _ => false,
    }
}

/// `"1.5s"` in nanoseconds; none if it is no time, or more than fits.
fn nanos(text: &str) -> Option<u64> {
    let unit = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at(unit);
    let unit: u64 = match unit.trim_start() {
        "ns" => 1,
        "us" | "µs" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" | "min" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole = whole.parse::<u64>().ok()?.checked_mul(unit)?;
    let digits = u32::try_from(fraction.len()).ok()?;
    let fraction = fraction.parse::<u64>().ok()?.checked_mul(unit)? / 10u64.checked_pow(digits)?;
    whole.checked_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::nanos;

    #[test]
    fn a_time_is_a_number_and_a_unit() {
        for (text, expected) in [
            ("150ms", 150_000_000),
            ("2s", 2_000_000_000),
            ("2 s", 2_000_000_000),
            ("1.5s", 1_500_000_000),
            ("0.25ms", 250_000),
            ("1m", 60_000_000_000),
            ("1h", 3_600_000_000_000),
            ("0s", 0),
        ] {
            assert_eq!(nanos(text), Some(expected), "{text}");
        }
    }

    #[test]
    fn anything_else_is_no_time() {
        for text in ["", "2", "s", "2 parsecs", "-1s", "1..5s", ".5s", "1.s", "1e3s", "99999999h"] {
            assert_eq!(nanos(text), None, "{text}");
        }
    }
}
