//! Random programs, as many as are wanted: the same ones every time.

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::process;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

fn setting(name: &str) -> Option<u64> {
    let text = env::var(name).ok()?.replace('_', "");
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is to be a number, and not {text}")))
}

/// Runs `program` with one seed after another until its `each` steps come to `total`, or to `REDUCER_STEPS`. With
/// `REDUCER_SEED`, that one alone. The seed of one that fails, or hangs, is printed.
pub fn programs(total: u64, each: u64, program: impl Fn(u64)) {
    let total = setting("REDUCER_STEPS").unwrap_or(total);
    let seeds = match setting("REDUCER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..total.div_ceil(each),
    };
    let (begins, begun) = channel();
    thread::spawn(move || {
        let mut running = None;
        loop {
            // Not a claim about time: a hang is to be an error, not a hang.
            match begun.recv_timeout(Duration::from_secs(120)) {
                Ok(seed) => running = Some(seed),
                Err(RecvTimeoutError::Disconnected) => return,
                Err(RecvTimeoutError::Timeout) => {
                    eprintln!("hangs: REDUCER_SEED={}", running.unwrap_or(0));
                    process::exit(1);
                }
            }
        }
    });
    for seed in seeds {
        begins.send(seed).expect("it listens until we are done");
        if let Err(payload) = catch_unwind(AssertUnwindSafe(|| program(seed))) {
            eprintln!("failed: REDUCER_SEED={seed}");
            resume_unwind(payload);
        }
    }
}
