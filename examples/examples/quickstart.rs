//! A hundred calls at once, one execution.
//!
//! ```text
//! cargo run --example quickstart
//! ```

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::join_all;
use reducer_core::{SharedError, reduceable};

static RUNS: AtomicUsize = AtomicUsize::new(0);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), SharedError> {
    let answers = join_all((0..100).map(|_| count_lines("quickstart.rs"))).await;
    for answer in answers {
        assert_eq!(answer?, include_str!("quickstart.rs").lines().count());
    }
    println!("100 calls at once: {} run", RUNS.load(Ordering::Relaxed));
    assert_eq!(RUNS.load(Ordering::Relaxed), 1);

    // The flight has landed, and nothing was kept of it: this is not a cache.
    count_lines("quickstart.rs").await?;
    println!("and one more call: {} runs", RUNS.load(Ordering::Relaxed));
    assert_eq!(RUNS.load(Ordering::Relaxed), 2);

    // Errors are shared as well; every caller can look at the original.
    for answer in join_all((0..100).map(|_| count_lines("no such file"))).await {
        let error = answer.expect_err("there is no such file");
        assert!(error.is::<std::io::Error>());
    }
    println!("and 100 that fail: {} runs", RUNS.load(Ordering::Relaxed));
    assert_eq!(RUNS.load(Ordering::Relaxed), 3);
    Ok(())
}

/// The number of lines of one of these examples.
#[reduceable]
async fn count_lines(example: &str) -> Result<usize, SharedError> {
    RUNS.fetch_add(1, Ordering::Relaxed);
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples").join(example);
    // In a task of its own: on our one thread it starts when all the calls have been made, so that
    // none is late for the flight.
    let text = tokio::spawn(tokio::fs::read_to_string(file)).await??;
    Ok(text.lines().count())
}
