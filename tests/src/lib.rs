//! What the tests share: futures polled by hand, gates opened by hand, user code that panics when told to.

pub mod allocations;
mod programs;
mod runs;

pub use programs::programs;
pub use runs::{begin, count_run, runs};

use std::future::Future;
use std::hash::{Hash, Hasher};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};

/// A future polled by hand, in a task of its own.
#[derive(Debug)]
pub struct ByHand<F> {
    future: Pin<Box<F>>,
    task: Arc<Woken>,
    /// How often it was polled.
    pub polls: usize,
}

#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, SeqCst);
    }
}

impl<F: Future> ByHand<F> {
    /// A task that nobody has polled.
    pub fn new(future: F) -> Self {
        let task = Arc::new(Woken(AtomicBool::new(true)));
        Self { future: Box::pin(future), task, polls: 0 }
    }

    /// Polls once.
    pub fn poll(&mut self) -> Poll<F::Output> {
        self.task.0.store(false, SeqCst);
        self.polls += 1;
        let waker = Waker::from(Arc::clone(&self.task));
        self.future.as_mut().poll(&mut Context::from_waker(&waker))
    }

    /// Whether it was woken since its last poll; true before the first.
    pub fn is_woken(&self) -> bool {
        self.task.0.load(SeqCst)
    }

    /// Polls once and expects nothing yet.
    #[track_caller]
    pub fn pending(&mut self) -> &mut Self {
        assert!(self.poll().is_pending(), "ready too early");
        self
    }

    /// Polls once and expects the end.
    #[track_caller]
    pub fn ready(&mut self) -> F::Output {
        match self.poll() {
            Poll::Ready(value) => value,
            Poll::Pending => panic!("not ready"),
        }
    }
}

/// Polls all that are woken, over and over, until nobody is.
pub fn settle<F: Future>(tasks: &mut [ByHand<F>]) -> Vec<Option<F::Output>> {
    let mut done: Vec<Option<F::Output>> = tasks.iter().map(|_| None).collect();
    loop {
        let mut moved = false;
        for (task, done) in tasks.iter_mut().zip(&mut done) {
            if done.is_none() && task.is_woken() {
                moved = true;
                if let Poll::Ready(value) = task.poll() {
                    *done = Some(value);
                }
            }
        }
        if !moved {
            return done;
        }
    }
}

/// Something to wait for, opened by hand. Clones are the same gate.
#[derive(Clone, Debug, Default)]
pub struct Gate(Arc<Mutex<GateState>>);

#[derive(Debug, Default)]
struct GateState {
    open: usize,
    waiting: Vec<Waker>,
}

impl Gate {
    /// A closed gate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets one through.
    pub fn open(&self) {
        let waiting = {
            let mut state = self.0.lock().unwrap();
            state.open += 1;
            std::mem::take(&mut state.waiting)
        };
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Wakes whoever waits, without opening.
    pub fn rattle(&self) {
        let waiting = std::mem::take(&mut self.0.lock().unwrap().waiting);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Waits until it is opened for us.
    pub fn pass(&self) -> impl Future<Output = ()> + Send + 'static {
        let gate = self.clone();
        std::future::poll_fn(move |cx| {
            let mut state = gate.0.lock().unwrap();
            if state.open > 0 {
                state.open -= 1;
                return Poll::Ready(());
            }
            state.waiting.push(cx.waker().clone());
            Poll::Pending
        })
    }
}

/// The work of a call that shall follow.
pub fn never_runs<T>() -> impl Future<Output = T> + Send {
    std::future::poll_fn(|_| panic!("a follower's work is never polled"))
}

/// Counts. Clones share the count.
#[derive(Clone, Debug, Default)]
pub struct Count(Arc<AtomicUsize>);

impl Count {
    /// Nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// One more; gives the number before.
    pub fn add(&self) -> usize {
        self.0.fetch_add(1, SeqCst)
    }

    /// So many.
    #[must_use]
    pub fn get(&self) -> usize {
        self.0.load(SeqCst)
    }
}

/// Adds to a count when it is dropped.
#[derive(Debug)]
pub struct DropCounts(pub Count);

impl Drop for DropCounts {
    fn drop(&mut self) {
        self.0.add();
    }
}

/// Says when its destructor begins, and lets it end when it may.
#[derive(Debug)]
pub struct SlowDrop {
    begun: mpsc::Sender<()>,
    may_end: mpsc::Receiver<()>,
    gone: Count,
}

impl SlowDrop {
    /// With what says that its destructor has begun, and what lets it end. Then it adds to `gone`.
    pub fn new(gone: Count) -> (Self, mpsc::Receiver<()>, mpsc::Sender<()>) {
        let (begun, has_begun) = mpsc::channel();
        let (end, may_end) = mpsc::channel();
        (Self { begun, may_end, gone }, has_begun, end)
    }
}

impl Drop for SlowDrop {
    fn drop(&mut self) {
        self.begun.send(()).unwrap();
        self.may_end.recv().unwrap();
        self.gone.add();
    }
}

/// Where a [`Touchy`] panics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum At {
    /// In `Hash`.
    Hash,
    /// In `Eq`.
    Eq,
    /// In `Clone`.
    Clone,
    /// In `Drop`.
    Drop,
}

/// A key or a value whose own code panics the `n`th time it runs, and never again.
#[derive(Debug)]
pub struct Touchy {
    /// What it is, to itself and others.
    pub id: u64,
    fuse: Arc<(At, AtomicUsize)>,
}

impl Touchy {
    /// Panics the `n`th time (from 1) that any of its clones does `at`; never if `n` is 0.
    #[must_use]
    pub fn new(id: u64, at: At, n: usize) -> Self {
        Self { id, fuse: Arc::new((at, AtomicUsize::new(n))) }
    }

    /// Another with the same fuse.
    #[must_use]
    pub fn twin(&self) -> Self {
        Self { id: self.id, fuse: Arc::clone(&self.fuse) }
    }

    fn touch(&self, at: At) {
        if self.fuse.0 == at
            && self.fuse.1.load(SeqCst) > 0
            && self.fuse.1.fetch_sub(1, SeqCst) == 1
        {
            panic!("touched at {at:?}");
        }
    }
}

impl Hash for Touchy {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.touch(At::Hash);
        self.id.hash(state);
    }
}

impl PartialEq for Touchy {
    fn eq(&self, other: &Self) -> bool {
        self.touch(At::Eq);
        self.id == other.id
    }
}

impl Eq for Touchy {}

impl Clone for Touchy {
    fn clone(&self) -> Self {
        self.touch(At::Clone);
        self.twin()
    }
}

impl Drop for Touchy {
    fn drop(&mut self) {
        self.touch(At::Drop);
    }
}

/// What a panic said.
#[must_use]
pub fn panic_message(payload: Box<dyn std::any::Any + Send>) -> String {
    match payload.downcast::<String>() {
        Ok(text) => *text,
        Err(payload) => (*payload.downcast::<&'static str>().expect("a text")).to_owned(),
    }
}

/// Runs what is expected to panic, and gives the message.
#[track_caller]
pub fn panics<T>(act: impl FnOnce() -> T) -> String {
    match std::panic::catch_unwind(std::panic::AssertUnwindSafe(act)) {
        Ok(_) => panic!("no panic"),
        Err(payload) => panic_message(payload),
    }
}

/// Numbers that look random and are the same for the same seed (splitmix64).
#[derive(Clone, Debug)]
pub struct Dice(u64);

impl Dice {
    /// A sequence of its own for each seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number below `n`.
    pub fn below(&mut self, n: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// The README's examples are tests.
#[cfg(doctest)]
#[doc = include_str!("../../README.md")]
#[derive(Debug)]
pub struct Readme;
