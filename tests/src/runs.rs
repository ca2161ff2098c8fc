//! How often a body ran that can be handed no counter: its signature is what the test is about.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

static RUNS: Mutex<BTreeMap<&'static str, usize>> = Mutex::new(BTreeMap::new());

/// Counts a run of `body`.
pub fn count_run(body: &'static str) {
    *RUNS.lock().unwrap().entry(body).or_default() += 1;
}

/// Counts a run of `body`, then lets every other call of the test come. Under tokio's paused clock, which
/// moves when nobody has anything left to do.
pub async fn begin(body: &'static str) {
    count_run(body);
    tokio::time::sleep(Duration::from_millis(1)).await;
}

/// How often `body` ran.
#[must_use]
pub fn runs(body: &'static str) -> usize {
    RUNS.lock().unwrap().get(body).copied().unwrap_or(0)
}
