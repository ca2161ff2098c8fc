//! Every interleaving of small programs, by loom. Each file begins with a race that is planted and must be caught.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p reducer-core --no-default-features --test loom --release`
#![cfg(all(loom, not(shuttle)))]

mod batches;
mod flights;
mod meters;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use loom::thread;

/// Two or three threads, all interleavings with at most so many forced switches.
fn model(preemptions: usize, program: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.check(program);
}

/// Counts works that run at the same time, and catches two of one key.
#[derive(Clone, Default)]
struct Runs(Arc<(AtomicUsize, AtomicUsize)>);

struct Running(Runs);

impl Runs {
    fn begin(&self) -> Running {
        self.0.0.fetch_add(1, SeqCst);
        assert_eq!(self.0.1.fetch_add(1, SeqCst), 0, "two leaders at once");
        Running(self.clone())
    }

    fn total(&self) -> usize {
        self.0.0.load(SeqCst)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A destructor that takes its time: whoever may start now does.
        thread::yield_now();
        self.0.0.1.fetch_sub(1, SeqCst);
    }
}

fn poll_once<F: Future + ?Sized>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}
