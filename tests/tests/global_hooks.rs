//! Hooks of the global reducer come too late once it has been used. A file of its own: a process has one.

use reducer_core::{StatisticsOverallHooks, set_global_hooks};
use reducer_tests::ByHand;

#[test]
fn hooks_set_after_the_first_call_are_an_error_that_says_so() {
    ByHand::new(reducer_core::reduce(1, async {})).ready();
    let stats = StatisticsOverallHooks::new();
    let error = set_global_hooks(stats.clone()).unwrap_err();
    assert!(!error.is_twice());
    assert!(error.to_string().contains("before the first call"), "{error}");
    ByHand::new(reducer_core::reduce(1, async {})).ready();
    assert_eq!(stats.total(), 0);
}
