//! `SharedError` takes whatever `?` meets, and tells what it was made from.

use std::error::Error;
use std::fmt;
use std::io;

use reducer_core::{ReduceError, Reducer, SharedError};
use reducer_tests::ByHand;

#[derive(Debug)]
struct Outer(io::Error);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the outer error")
    }
}

impl Error for Outer {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        Some(&self.0)
    }
}

fn outer() -> Outer {
    Outer(io::Error::other("the inner error"))
}

fn check(error: &SharedError) {
    for error in [error.clone(), error.clone()] {
        assert_eq!(error.to_string(), "the outer error");
        assert_eq!(error.source().unwrap().to_string(), "the inner error");
        assert!(error.is::<Outer>() && !error.is::<io::Error>());
        assert_eq!(error.downcast_ref::<Outer>().unwrap().0.to_string(), "the inner error");
        assert!(format!("{error:?}").contains("Outer"));
    }
}

#[test]
fn an_error_of_ones_own() {
    fn fails() -> Result<(), SharedError> {
        Err(outer())?
    }
    check(&fails().unwrap_err());
}

#[test]
fn a_boxed_error() {
    fn fails() -> Result<(), SharedError> {
        let boxed: Box<dyn Error + Send + Sync> = Box::new(outer());
        Err(boxed)?
    }
    check(&fails().unwrap_err());
}

#[test]
fn an_anyhow_error() {
    fn fails() -> Result<(), SharedError> {
        Err(anyhow::Error::new(outer()))?
    }
    check(&fails().unwrap_err());
}

#[test]
fn an_anyhow_error_with_context() {
    use anyhow::Context as _;
    fn fails() -> Result<(), SharedError> {
        Err::<(), _>(outer()).context("while testing")?;
        Ok(())
    }
    let error = fails().unwrap_err();
    assert_eq!(error.to_string(), "while testing");
    assert_eq!(error.source().unwrap().to_string(), "the outer error");
    assert!(error.is::<Outer>());
}

#[test]
fn a_text() {
    fn fails() -> Result<(), SharedError> {
        Err("no such thing")?
    }
    assert_eq!(fails().unwrap_err().to_string(), "no such thing");
}

#[test]
fn another_shared_error_and_there_and_back_again() {
    fn fails() -> Result<(), SharedError> {
        Err(SharedError::new(outer()))?
    }
    check(&fails().unwrap_err());

    fn to_anyhow() -> anyhow::Result<()> {
        Err(fails().unwrap_err().into_std())?
    }
    fn and_back() -> Result<(), SharedError> {
        Ok(to_anyhow()?)
    }
    assert_eq!(to_anyhow().unwrap_err().chain().count(), 2);
    assert_eq!(and_back().unwrap_err().to_string(), "the outer error");
    let boxed: Box<dyn Error + Send + Sync> = Box::new(fails().unwrap_err().into_std());
    check(&SharedError::from(boxed));
}

#[test]
fn a_reduce_error() {
    let reducer = Reducer::builder().max_followers(0).build();
    let mut lead = ByHand::new(reducer.try_reduce(1, std::future::pending::<()>()));
    lead.pending();
    let call = async {
        reducer.try_reduce(1, async {}).await?;
        Ok::<_, SharedError>(())
    };
    let error = ByHand::new(call).ready().unwrap_err();
    assert!(matches!(error.downcast_ref(), Some(ReduceError::Overloaded(_))));
}
