//! Many callers on many threads, who come, wait, leave and change the limits, all at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use reducer_core::Meter;
use tokio::time::{Instant, sleep, timeout};

/// No good dice, but the same for every run.
struct Dice(u64);

impl Dice {
    fn up_to(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % sides
    }
}

const CALLERS: u64 = 32;
const CALLS: u64 = 300;
const MOST: usize = 5;

async fn caller(meter: Meter, running: Arc<AtomicUsize>, seed: u64) {
    let mut dice = Dice(seed);
    for _ in 0..CALLS {
        let patience = Duration::from_micros(dice.up_to(3_000));
        match dice.up_to(8) {
            0 => drop(meter.acquire()),
            1 => meter.set_max_at_once(1 + dice.up_to(MOST as u64) as usize),
            2 => meter.set_max_per_second(5_000.0 + dice.up_to(50_000) as f64),
            3 => meter.pause_until(Instant::now() + patience / 4),
            _ => {
                let Ok(_permit) = timeout(patience, meter.acquire()).await else { continue };
                let before = running.fetch_add(1, SeqCst);
                assert!(before < MOST, "{before} others run");
                if dice.up_to(2) == 0 {
                    sleep(patience / 8).await;
                }
                running.fetch_sub(1, SeqCst);
            }
        }
    }
}

#[test]
fn nobody_is_forgotten_and_the_limit_is_never_passed() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(4)
        .enable_time()
        .build()
        .unwrap();
    runtime.block_on(async {
        for is_paced in [false, true] {
            let meter = Meter::new().max_at_once(MOST);
            if is_paced {
                meter.set_max_per_second(20_000.0);
            }
            let running = Arc::new(AtomicUsize::new(0));
            let callers: Vec<_> = (0..CALLERS)
                .map(|seed| tokio::spawn(caller(meter.clone(), Arc::clone(&running), seed)))
                .collect();
            for caller in callers {
                caller.await.unwrap();
            }
            // All places are free again, and a start can be had.
            meter.set_max_at_once(MOST);
            let stats = meter.stats();
            assert_eq!((stats.running, stats.waiting, stats.failed), (0, 0, 0));
            let mut permits = Vec::new();
            for _ in 0..MOST {
                permits.push(meter.acquire().await);
            }
            assert!(meter.try_acquire().is_none());
        }
    });
}

#[test]
fn lists_that_share_a_meter_all_come_to_their_end() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).build().unwrap();
    runtime.block_on(async {
        let meter = Meter::new().max_at_once(MOST);
        let done = Arc::new(AtomicUsize::new(0));
        let lists: Vec<_> = (0..CALLERS)
            .map(|seed| {
                let (meter, done) = (meter.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    let mut dice = Dice(seed);
                    let job = |_| {
                        let (yields, done) = (dice.up_to(4), Arc::clone(&done));
                        async move {
                            for _ in 0..yields {
                                tokio::task::yield_now().await;
                            }
                            if yields == 0 {
                                // Wakes the job from another thread.
                                tokio::spawn(async {}).await.unwrap();
                            }
                            done.fetch_add(1, SeqCst);
                        }
                    };
                    meter.run_on_each(0..2_000, job).await;
                })
            })
            .collect();
        for list in lists {
            list.await.unwrap();
        }
        assert_eq!(done.load(SeqCst), CALLERS as usize * 2_000);
        assert_eq!((meter.stats().running, meter.stats().waiting), (0, 0));
    });
}
