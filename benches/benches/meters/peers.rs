//! What else runs many jobs, and what else limits a rate.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use benches::Contest;
use futures_buffered::BufferedStreamExt as _;
use futures_util::{StreamExt as _, stream};
use governor::{Quota, RateLimiter};
use leaky_bucket::RateLimiter as LeakyBucket;

use crate::{Job, LIMIT, drain, on_runtime, pace};

pub(crate) fn streams(contest: Contest, jobs: u64, suspensions: u32) -> Contest {
    let input = move || stream::iter(0..jobs).map(move |value| Job { suspensions, value });
    contest
        .with(
            "futures-buffered, unordered",
            on_runtime(move || drain(Box::pin(input().buffered_unordered(LIMIT)))),
        )
        .with(
            "futures-buffered, ordered",
            on_runtime(move || drain(Box::pin(input().buffered_ordered(LIMIT)))),
        )
}

pub(crate) fn rates(asked: u32, jobs: u32, callers: usize) {
    let quota = NonZeroU32::new(asked).expect("some are asked for");
    for burst in [1, 5] {
        let burst = NonZeroU32::new(burst).expect("it is not zero");
        let governor = Arc::new(RateLimiter::direct(Quota::per_second(quota).allow_burst(burst)));
        pace(callers, jobs, move || {
            let governor = Arc::clone(&governor);
            async move { governor.until_ready().await }
        })
        .print(&format!("governor, burst {burst}"), asked);
    }
    // It counts in milliseconds.
    let refill = asked.div_ceil(1_000);
    let bucket = LeakyBucket::builder()
        .initial(refill as usize)
        .max(refill as usize)
        .refill(refill as usize)
        .interval(Duration::from_secs(1) * refill / asked)
        .build();
    let bucket = Arc::new(bucket);
    pace(callers, jobs, move || {
        let bucket = Arc::clone(&bucket);
        async move { bucket.acquire_one().await }
    })
    .print("leaky-bucket", asked);
}
