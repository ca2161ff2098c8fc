//! What is called, and how it is polled.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

/// What every call comes to: one allocation, and cheap to clone, as answers are that many share.
pub type Value = Arc<u64>;

/// Suspends so often, having woken itself, and gives `value`.
#[derive(Debug)]
pub struct Work {
    suspensions: u32,
    value: u64,
}

/// See [`Work`].
#[must_use]
pub fn work(value: u64, suspensions: u32) -> Work {
    Work { suspensions, value }
}

impl Future for Work {
    type Output = Value;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Value> {
        if self.suspensions == 0 {
            return Poll::Ready(Arc::new(black_box(self.value)));
        }
        self.suspensions -= 1;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// Polls until ready, with a waker that does nothing: what is measured is the call, not an executor.
pub fn drive<F: Future>(call: F) -> F::Output {
    let mut call = pin!(call);
    let mut cx = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(value) = call.as_mut().poll(&mut cx) {
            return value;
        }
    }
}
