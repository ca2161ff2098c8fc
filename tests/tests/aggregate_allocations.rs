//! Batches and the heap. In a file of its own, for its allocator is the whole program's.
#![deny(warnings)]

use reducer_core::Aggregator;
use reducer_tests::ByHand;
use reducer_tests::allocations::{Counting, allocations, bytes_in_use};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const CALLS: u64 = 10_000;

#[tokio::test]
async fn a_call_in_batches_of_a_hundred_allocates_a_tenth_at_most_and_nothing_stays() {
    let echo = Aggregator::builder().max_count(100).build(|ns: Vec<u64>| async move { ns });
    let mut left = Vec::new();
    for _ in 0..3 {
        let before = bytes_in_use();
        let mut calls: Vec<_> = (0..CALLS).map(|n| ByHand::new(echo.call(n))).collect();
        // To arrive, which for the first of a batch spawns its task.
        let (arriving, ()) =
            allocations(|| calls.iter_mut().for_each(|call| assert!(call.poll().is_pending())));
        let wakers = calls.len();
        while echo.stats().running > 0 || echo.stats().waiting > 0 {
            tokio::task::yield_now().await;
        }
        let (leaving, ()) =
            allocations(|| calls.iter_mut().for_each(|call| assert!(call.ready().is_ok())));
        assert!(arriving * 10 <= wakers, "{arriving} for {wakers} calls");
        assert_eq!(leaving, 0);
        drop(calls);
        left.push(bytes_in_use() - before);
    }
    assert!(left[2] <= 0, "{left:?}");
}
