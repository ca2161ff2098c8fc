//! What is called, and how it is polled.

use std::future::Future;
use std::hint::black_box;
use std::num::NonZeroU32;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};

use parking_lot::Mutex;

/// What every call comes to: one allocation, and cheap to clone, as answers are that many share.
pub type Value = Arc<u64>;

/// What all calls of a workload do. Small, for every call has one.
#[derive(Clone, Debug)]
pub enum Plan {
    /// Suspend so often, having woken themselves.
    Wakes(u16),
    /// Let the runtime's other tasks run so often.
    Yields(u16),
    /// Wait for ever.
    Never,
    /// What a query costs a service: suspended twice, and some microseconds of work.
    Query,
    /// Wait for so many events, one after another.
    Events(Arc<(Events, u16)>),
    /// As `Yields(1)`, of keys below the number of them, and see who else is at the same.
    Checked(Arc<Check>),
}

impl Plan {
    /// See [`Events`](Self::Events).
    #[must_use]
    pub fn events(events: &Events, n: u16) -> Self {
        Self::Events(Arc::new((events.clone(), n)))
    }

    /// The work of one call.
    #[must_use]
    pub fn work(&self, value: u64) -> Work {
        let left = match self {
            Self::Wakes(n) | Self::Yields(n) => *n,
            Self::Never => 0,
            Self::Query => 2,
            Self::Events(events) => events.1,
            Self::Checked(_) => 1,
        };
        Work { value, left, begun: false, ticket: None, plan: self.clone() }
    }
}

/// See [`Plan::work`].
#[must_use]
pub fn work(value: u64, suspensions: u16) -> Work {
    Plan::Wakes(suspensions).work(value)
}

/// The work of one call.
#[derive(Debug)]
pub struct Work {
    value: u64,
    left: u16,
    begun: bool,
    // In the line of those who wait for the next event.
    ticket: Option<NonZeroU32>,
    plan: Plan,
}

impl Future for Work {
    type Output = Value;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Value> {
        if let Plan::Wakes(_) = self.plan {
            if self.left == 0 {
                return Poll::Ready(Arc::new(black_box(self.value)));
            }
            self.left -= 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        self.poll_others(cx)
    }
}

impl Work {
    fn poll_others(&mut self, cx: &mut Context<'_>) -> Poll<Value> {
        match &self.plan {
            Plan::Never => return Poll::Pending,
            Plan::Events(events) => {
                while self.left > 0 {
                    let nth = events.1 + 1 - self.left;
                    if events.0.poll(nth, &mut self.ticket, cx).is_pending() {
                        return Poll::Pending;
                    }
                    (self.left, self.ticket) = (self.left - 1, None);
                }
            }
            Plan::Checked(check) if !self.begun => check.begin(self.value),
            _ => {}
        }
        self.begun = true;
        if self.left > 0 {
            self.left -= 1;
            assert!(pin!(tokio::task::yield_now()).poll(cx).is_pending());
            return Poll::Pending;
        }
        if let Plan::Query = self.plan {
            black_box((0..20_000u64).fold(self.value, |sum, n| black_box(sum ^ n)));
        }
        Poll::Ready(Arc::new(black_box(self.value)))
    }
}

impl Drop for Work {
    #[inline]
    fn drop(&mut self) {
        if let Plan::Checked(check) = &self.plan
            && self.begun
        {
            check.end(self.value);
        }
    }
}

/// Events that works wait for. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Events(Arc<Mutex<(u16, Vec<Waker>)>>);

impl Events {
    /// The next of them.
    pub fn happen(&self) {
        let wakers = {
            let mut state = self.0.lock();
            state.0 += 1;
            std::mem::take(&mut state.1)
        };
        wakers.into_iter().for_each(Waker::wake);
    }

    /// None has happened, again.
    pub fn reset(&self) {
        *self.0.lock() = Default::default();
    }

    /// Waits for the `n`th. One that is polled again stays where it is in line.
    fn poll(&self, n: u16, ticket: &mut Option<NonZeroU32>, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.0.lock();
        if state.0 >= n {
            return Poll::Ready(());
        }
        match ticket {
            Some(ticket) => state.1[ticket.get() as usize - 1].clone_from(cx.waker()),
            None => {
                state.1.push(cx.waker().clone());
                *ticket = u32::try_from(state.1.len()).ok().and_then(NonZeroU32::new);
            }
        }
        Poll::Pending
    }
}

/// Who is at work, to be seen if two are at the same.
#[derive(Debug)]
pub struct Check {
    at_work: Vec<AtomicU32>,
    /// How many works there were.
    pub works: AtomicUsize,
    /// How many of them began while there was another of the same key.
    pub overlapping: AtomicUsize,
}

impl Check {
    /// Nobody is.
    #[must_use]
    pub fn new(keys: usize) -> Arc<Self> {
        Arc::new(Self {
            at_work: (0..keys).map(|_| AtomicU32::new(0)).collect(),
            works: AtomicUsize::new(0),
            overlapping: AtomicUsize::new(0),
        })
    }

    fn begin(&self, key: u64) {
        self.works.fetch_add(1, Relaxed);
        if self.at_work[key as usize].fetch_add(1, Relaxed) > 0 {
            self.overlapping.fetch_add(1, Relaxed);
        }
    }

    fn end(&self, key: u64) {
        self.at_work[key as usize].fetch_sub(1, Relaxed);
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

/// Polls until ready; the thread sleeps in between.
pub fn block_on<F: Future>(call: F) -> F::Output {
    struct Sleeper(Thread);
    impl Wake for Sleeper {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    thread_local! {
        static WAKER: Waker = Arc::new(Sleeper(thread::current())).into();
    }
    let mut call = pin!(call);
    WAKER.with(|waker| {
        let mut cx = Context::from_waker(waker);
        loop {
            match call.as_mut().poll(&mut cx) {
                Poll::Ready(value) => return value,
                Poll::Pending => thread::park(),
            }
        }
    })
}
