//! Plain load on several threads, with callers that leave at random: no two works of one key at once,
//! nobody without an answer, nobody with another's, nothing left behind.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use reducer_core::Reducer;
use reducer_tests::{Count, Dice};

const KEYS: usize = 8;

/// A work of one key, which must be the only one.
struct Running(Arc<Vec<AtomicUsize>>, usize);

impl Running {
    fn begin(running: &Arc<Vec<AtomicUsize>>, key: usize) -> Self {
        assert_eq!(running[key].fetch_add(1, SeqCst), 0, "two works of key {key} at once");
        Self(Arc::clone(running), key)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0[self.1].fetch_sub(1, SeqCst);
    }
}

#[test]
fn tasks_and_threads_that_come_and_go_never_overlap_and_all_get_theirs() {
    let reducer = Reducer::new();
    let running: Arc<Vec<_>> = Arc::new((0..KEYS).map(|_| AtomicUsize::new(0)).collect());
    let runs = Count::new();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(3)
        .enable_time()
        .build()
        .unwrap();

    let call = |key: usize, steps: usize| {
        let (running, runs) = (Arc::clone(&running), runs.clone());
        move || async move {
            let _running = Running::begin(&running, key);
            runs.add();
            for _ in 0..steps {
                tokio::task::yield_now().await;
            }
            key
        }
    };
    let tasks: Vec<_> = (0..32)
        .map(|seed| {
            let reducer = reducer.clone();
            let call = |dice: &mut Dice| {
                let key = dice.below(KEYS);
                (key, call(key, dice.below(6)))
            };
            let mut dice = Dice::new(seed);
            let calls: Vec<_> = (0..500).map(|_| (call(&mut dice), dice.below(3))).collect();
            runtime.spawn(async move {
                for ((key, work), fate) in calls {
                    let call = reducer.reduce_with(key, work);
                    if fate == 0 {
                        // Leaves after a poll or two.
                        tokio::select! {
                            biased;
                            value = call => assert_eq!(value, key),
                            () = tokio::task::yield_now() => {}
                        }
                    } else {
                        assert_eq!(call.await, key);
                    }
                }
            })
        })
        .collect();
    std::thread::scope(|threads| {
        for seed in 100..102 {
            let (reducer, running) = (&reducer, &running);
            threads.spawn(move || {
                let mut dice = Dice::new(seed);
                for _ in 0..500 {
                    let key = dice.below(KEYS);
                    let value = reducer.reduce_blocking(key, || {
                        let _running = Running::begin(running, key);
                        key
                    });
                    assert_eq!(value, key);
                }
            });
        }
    });
    runtime.block_on(async {
        for task in tasks {
            // Not a claim about time: a hang is to be an error, not a hang.
            tokio::time::timeout(Duration::from_secs(120), task).await.expect("hangs").unwrap();
        }
    });
    assert_eq!(reducer.in_flight(), 0);
    assert!(running.iter().all(|running| running.load(SeqCst) == 0));
    println!("{} runs for {} calls", runs.get(), 32 * 500);
}
