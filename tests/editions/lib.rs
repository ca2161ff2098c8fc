//! `#[reduceable]` in an edition before 2024. Rows 20 and 24 of what a user may write.
//!
//! That a guard in the last expression compiles at all is the test: in these editions it would outlive the
//! arguments that it borrows, which are locals in the expansion.
#![deny(warnings)]

use std::sync::{Arc, Mutex};

use reducer_core::{reduceable, SharedError};
use reducer_tests::begin;

/// The guard of an argument that moves into the body.
#[reduceable(key = ())]
pub async fn tail(m: Arc<Mutex<u8>>) -> u8 {
    begin("tail").await;
    *m.lock().expect("nobody panicked")
}

/// The same for threads.
#[reduceable(key = ())]
pub fn blocking_tail(m: Arc<Mutex<u8>>) -> u8 {
    *m.lock().expect("nobody panicked")
}

/// The guard of an argument that the leader copies.
#[reduceable(skip(m))]
pub async fn borrowed_tail(
    m: &Arc<Mutex<u8>>,
    (a, mut b): (u8, String),
    _: &str,
    o: Option<&[u8]>,
) -> usize {
    begin("borrowed_tail").await;
    b.push('x');
    *m.lock().expect("nobody panicked") as usize + b.len() + a as usize + o.map_or(0, |o| o.len())
}

/// A key that names what a pattern binds.
#[reduceable(key = (a, b.as_str()))]
pub async fn keyed((a, b): (u8, String)) -> usize {
    begin("keyed").await;
    b.len() + a as usize
}

/// `?` and a time limit.
#[reduceable(timeout = "2s")]
pub async fn limited(text: &str) -> Result<u8, SharedError> {
    begin("limited").await;
    Ok(text.parse()?)
}

/// With methods.
#[derive(Clone, Debug, Hash, PartialEq, Eq)]
pub struct User(pub u8);

impl User {
    /// `self` in a format string.
    #[reduceable]
    pub async fn by_ref(&self) -> String {
        begin("by_ref").await;
        format!("{self:?}")
    }

    /// `self` by value.
    #[reduceable]
    pub async fn by_value(self, x: &str) -> usize {
        begin("by_value").await;
        x.len() + usize::from(self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use reducer_tests::runs;
    use tokio::join;

    #[tokio::test(start_paused = true)]
    async fn all_compile_and_coalesce() {
        let m = Arc::new(Mutex::new(1));
        assert_eq!(join!(tail(Arc::clone(&m)), tail(Arc::clone(&m))), (1, 1));
        assert_eq!(blocking_tail(Arc::clone(&m)), 1);
        let tuple = || (1, String::new());
        let call = || borrowed_tail(&m, tuple(), "", Some(&[1]));
        assert_eq!(join!(call(), call()), (4, 4));
        assert_eq!(join!(keyed(tuple()), keyed(tuple())), (1, 1));
        let (a, b) = join!(limited("7"), limited("7"));
        assert_eq!((a.unwrap(), b.unwrap()), (7, 7));
        let (a, b) = (User(1), User(1));
        assert_eq!(join!(a.by_ref(), b.by_ref()).1, "User(1)");
        assert_eq!(join!(a.by_value("x"), b.by_value("x")), (2, 2));
        for body in ["tail", "borrowed_tail", "keyed", "limited", "by_ref", "by_value"] {
            assert_eq!(runs(body), 1, "{body}");
        }
    }
}
