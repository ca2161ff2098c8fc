//! Futures that run side by side in one task, each polled only when it was woken.
//!
//! What `FuturesUnordered` is for, with seats that stay: a job that ends leaves its box and its waker to the
//! next one, so that a job costs no allocation. It grows with the jobs that really run at once.
//!
//! A poll gives back the control after [`BUDGET`] jobs. Jobs that use tokio share the budget of their task, and
//! when it is spent every one of them asks to be polled again; were they all, each round, the cost would grow with
//! the square of their number.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::{AcqRel, Acquire, Relaxed};
use std::sync::atomic::{AtomicBool, AtomicUsize};
use std::task::{Context, Poll, Wake, Waker};

use crate::flight::quietly;
use crate::sync::Mutex;

/// As many operations as tokio allows a task before it has to yield.
pub(super) const BUDGET: usize = 128;

/// Jobs, each with what is to be kept as long as it runs.
pub(super) struct Jobs<F, K> {
    seats: Vec<Seat<F, K>>,
    vacant: Vec<usize>,
    /// To be polled, in the order in which they were woken.
    awake: VecDeque<usize>,
    bell: Arc<Bell>,
    /// As it was last given to the bell.
    parent: Option<Arc<Waker>>,
    running: usize,
}

struct Seat<F, K> {
    job: Option<(Berth<F>, K)>,
    /// That of the job before.
    spare: Option<Berth<F>>,
    ringer: Arc<Ringer>,
    waker: Waker,
}

/// Where a job lies. None in it when it is over.
type Berth<F> = Pin<Box<Option<F>>>;

/// Rung by jobs that are woken.
struct Bell {
    /// The seat that was woken last; from there on each ringer names the one before. Or one of the two below.
    last: AtomicUsize,
    parent: Mutex<Option<Arc<Waker>>>,
}

/// Nobody has rung, and the parent will look.
const NOBODY: usize = usize::MAX;
/// Nobody has rung, and whoever does has to wake the parent.
const ASLEEP: usize = usize::MAX - 1;

struct Ringer {
    seat: usize,
    /// Whether the seat is in `awake`, or among those who have rung.
    is_awake: AtomicBool,
    /// Who rang before.
    before: AtomicUsize,
    bell: Arc<Bell>,
}

impl Wake for Ringer {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // AcqRel: pairs with the swap before the poll, which sees what was done before the wake-up.
        if self.is_awake.swap(true, AcqRel) {
            return;
        }
        // From here on the ringer is ours, until the parent has fetched it.
        let mut last = self.bell.last.load(Relaxed);
        loop {
            self.before.store(if last == ASLEEP { NOBODY } else { last }, Relaxed);
            // Release: pairs with the swap in `fetch`, which reads `before`.
            match self.bell.last.compare_exchange_weak(last, self.seat, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(other) => last = other,
            }
        }
        if last == ASLEEP {
            let parent = self.bell.parent.lock().clone();
            if let Some(parent) = parent {
                parent.wake_by_ref();
            }
        }
    }
}

/// A job that came to its end.
pub(super) struct Done<T, K> {
    pub(super) output: T,
    pub(super) kept: K,
}

impl<F: Future, K> Jobs<F, K> {
    pub(super) fn new() -> Self {
        Self {
            seats: Vec::new(),
            vacant: Vec::new(),
            awake: VecDeque::new(),
            bell: Arc::new(Bell { last: AtomicUsize::new(NOBODY), parent: Mutex::default() }),
            parent: None,
            running: 0,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.running
    }

    /// Polls a new job, and keeps it if it is not done.
    pub(super) fn run(&mut self, job: F, kept: K) -> Poll<Done<F::Output, K>> {
        // It stays vacant for as long as the job may panic. If somebody still rings for the job before, this one is
        // polled once in vain.
        let seat = self.vacant.last().copied().unwrap_or_else(|| self.add_seat());
        let place = &mut self.seats[seat];
        let mut berth = match place.spare.take() {
            Some(mut spare) => {
                spare.set(Some(job));
                spare
            }
            None => Box::pin(Some(job)),
        };
        match poll(&mut berth, &place.waker) {
            Poll::Pending => {
                place.job = Some((berth, kept));
                self.vacant.pop();
                self.running += 1;
                Poll::Pending
            }
            Poll::Ready(output) => {
                place.spare = Some(berth);
                Poll::Ready(Done { output, kept })
            }
        }
    }

    fn add_seat(&mut self) -> usize {
        let seat = self.seats.len();
        let ringer = Arc::new(Ringer {
            seat,
            is_awake: AtomicBool::new(false),
            before: AtomicUsize::new(NOBODY),
            bell: Arc::clone(&self.bell),
        });
        let waker = Waker::from(Arc::clone(&ringer));
        self.seats.push(Seat { job: None, spare: None, ringer, waker });
        self.vacant.push(seat);
        seat
    }

    /// The next job to come to its end. Spends `budget`; if there is none left, somebody has to come back.
    pub(super) fn poll_done(&mut self, budget: &mut usize) -> Poll<Done<F::Output, K>> {
        while !self.awake.is_empty() || self.fetch() {
            if *budget == 0 {
                return Poll::Pending;
            }
            *budget -= 1;
            let seat = self.awake.pop_front().expect("somebody has rung");
            let place = &mut self.seats[seat];
            // AcqRel: a wake-up is either seen by the poll that follows, or rings for the one after it.
            place.ringer.is_awake.swap(false, AcqRel);
            // Taken out: if it panics it is gone, with what was kept for it, and the seat is vacant.
            let Some((mut berth, kept)) = place.job.take() else { continue };
            self.running -= 1;
            self.vacant.push(seat);
            match poll(&mut berth, &place.waker) {
                Poll::Pending => {
                    place.job = Some((berth, kept));
                    self.vacant.pop();
                    self.running += 1;
                }
                Poll::Ready(output) => {
                    place.spare = Some(berth);
                    return Poll::Ready(Done { output, kept });
                }
            }
        }
        Poll::Pending
    }

    /// Fetches those who have rung, if there are any.
    fn fetch(&mut self) -> bool {
        let mut last = self.bell.last.load(Relaxed);
        if last == NOBODY {
            return false;
        }
        last = self.bell.last.swap(NOBODY, Acquire);
        if last == ASLEEP {
            return false;
        }
        while last != NOBODY {
            self.awake.push_front(last);
            last = self.seats[last].ringer.before.load(Relaxed);
        }
        true
    }

    /// Whether `cx` is woken by the next who rings. If not, somebody has rung meanwhile.
    pub(super) fn sleep(&mut self, cx: &mut Context<'_>) -> bool {
        let is_known = self.parent.as_ref().is_some_and(|parent| parent.will_wake(cx.waker()));
        if !is_known {
            let parent = Some(Arc::new(cx.waker().clone()));
            let before = mem::replace(&mut *self.bell.parent.lock(), parent.clone());
            // With the last of these two the old waker is dropped.
            let mine = mem::replace(&mut self.parent, parent);
            quietly(|| drop((before, mine)));
        }
        let last = &self.bell.last;
        let asleep = last.compare_exchange(NOBODY, ASLEEP, AcqRel, Acquire);
        asleep.is_ok() || asleep == Err(ASLEEP)
    }
}

fn poll<F: Future>(berth: &mut Berth<F>, waker: &Waker) -> Poll<F::Output> {
    let job = berth.as_mut().as_pin_mut().expect("a job that is over is not polled");
    let poll = job.poll(&mut Context::from_waker(waker));
    if poll.is_ready() {
        berth.set(None);
    }
    poll
}

impl<F, K> Drop for Jobs<F, K> {
    /// Wakers of jobs may live on, in a timer or a channel. The task is not kept for them.
    fn drop(&mut self) {
        let parent = self.bell.parent.lock().take();
        quietly(|| drop(parent));
    }
}
