//! The second door: threads share one execution.

use std::cell::Cell;
use std::future::Pending;
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use crate::error::ReduceError;
use crate::flight::{
    Cargo, Hold, HoldsRows, Link, Named, Open, Outcome, Place, Site, Stake, Waiting, either,
    quietly, within, wreck,
};
use crate::key::{Key, Owned};
use crate::reducer::{Reduced, Reducer, Role};
use crate::registry::Admission;
use crate::sync::{AtomicBool, Ordering, Thread, thread, thread_local};

impl Reducer {
    /// As [`reduce`](Self::reduce), for threads: the leader's thread runs `work`, the others wait.
    ///
    /// Threads and tasks share: a blocking call joins an async flight of an equal key and value type, and
    /// the other way round. A blocking follower of an async flight drives it when it is the one awake.
    ///
    /// # Blocking
    /// Parks the thread until the flight lands. Do not call it from a task of an async runtime unless the
    /// work is as short as what you would do there anyway: the task's thread does nothing else meanwhile. A
    /// [`timeout`](crate::ReducerBuilder::timeout) does not concern blocking work, for a thread cannot be
    /// stopped.
    ///
    /// # Panics
    /// As [`reduce`](Self::reduce).
    ///
    /// # Examples
    /// ```
    /// use reducer_core::Reducer;
    /// use std::sync::Barrier;
    ///
    /// let reducer = Reducer::new();
    /// let both_here = Barrier::new(2);
    /// std::thread::scope(|threads| {
    ///     let first = threads.spawn(|| {
    ///         reducer.reduce_blocking("page", || {
    ///             both_here.wait();
    ///             while !reducer.is_in_flight(&"page") {}
    ///             42
    ///         })
    ///     });
    ///     both_here.wait();
    ///     let second = reducer.reduce_blocking("page", || 42);
    ///     assert_eq!((first.join().unwrap(), second), (42, 42));
    /// });
    /// ```
    pub fn reduce_blocking<K, V>(&self, key: K, work: impl FnOnce() -> V) -> V
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        match self.try_reduce_blocking(key, work) {
            Ok(reduced) => reduced.value,
            Err(error) => error.raise(),
        }
    }

    /// As [`reduce_blocking`](Self::reduce_blocking), and tells the caller's [`Role`]; what
    /// `reduce_blocking` panics with is the error.
    ///
    /// # Blocking
    /// As [`reduce_blocking`](Self::reduce_blocking).
    ///
    /// # Errors
    /// As [`try_reduce`](Self::try_reduce), but for what needs a runtime.
    ///
    /// # Examples
    /// ```
    /// use reducer_core::{Reducer, Role};
    ///
    /// let done = Reducer::new().try_reduce_blocking(7, || "row").unwrap();
    /// assert_eq!((done.value, done.role), ("row", Role::Led));
    /// ```
    pub fn try_reduce_blocking<K, V>(
        &self,
        key: K,
        work: impl FnOnce() -> V,
    ) -> Result<Reduced<V>, ReduceError>
    where
        K: Hash + Eq + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
    {
        let hash = self.registry.hash_with(|hasher| key.hash(hasher));
        by_hand(self, hash, key, work)
    }

    /// Makes a function of one argument (a tuple for more) into one whose calls share, among threads.
    /// Each `wrap_blocking` is a namespace of its own.
    ///
    /// # Blocking
    /// Each call: as [`reduce_blocking`](Self::reduce_blocking).
    ///
    /// # Panics
    /// Each call: as [`reduce`](Self::reduce).
    ///
    /// # Examples
    /// ```
    /// let square = reducer_core::Reducer::new().wrap_blocking(|n: u64| n * n);
    /// assert_eq!(square(12), 144);
    /// ```
    pub fn wrap_blocking<A, V, F>(&self, f: F) -> impl Fn(A) -> V + use<A, V, F>
    where
        A: Hash + Eq + Clone + Send + Sync + 'static,
        V: Clone + Send + Sync + 'static,
        F: Fn(A) -> V,
    {
        let (reducer, site) = (self.clone(), Site::next_wrap::<F>());
        move |arg: A| {
            let hash = reducer.registry.hash_with(|hasher| arg.hash(hasher));
            let work = |arg: &A| f(arg.clone());
            match lead_or_follow::<_, _, Open<F>>(&reducer, hash, site, Owned(arg), work) {
                Ok(reduced) => reduced.value,
                Err(error) => error.raise(),
            }
        }
    }
}

/// With work whose type has no name in the source.
fn by_hand<K, V, W>(
    reducer: &Reducer,
    hash: u32,
    key: K,
    work: W,
) -> Result<Reduced<V>, ReduceError>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
    W: FnOnce() -> V,
{
    let site = Site::of::<Open<W>>();
    lead_or_follow::<_, _, Open<W>>(reducer, hash, site, Owned(key), |_| work())
}

/// Follows the flight of `key`, which is quick, or leads one, of the site that `N` says, by running `work` here.
pub(crate) fn lead_or_follow<P, V, N>(
    reducer: &Reducer,
    hash: u32,
    site: Site,
    key: P,
    work: impl FnOnce(&P::Owned) -> V,
) -> Result<Reduced<V>, ReduceError>
where
    P: Key,
    V: Clone + Send + Sync + 'static,
    N: Named,
{
    let Reducer { registry, options } = reducer;
    // There is no future to poll.
    let cargo = Cargo::<P::Owned, V, P::Same>::later::<Pending<V>, N>;
    let mut key = Some(key);
    loop {
        match registry.admit(options, hash, site, &mut key, cargo) {
            Admission::Led(flight) => {
                let value = lead::<P::Owned, V>(reducer, flight, work)?;
                return Ok(Reduced { value, role: Role::Led });
            }
            admission => {
                if let Some(outcome) = follow(reducer, admission) {
                    return outcome.map(|value| Reduced { value, role: Role::Joined });
                }
            }
        }
    }
}

/// Joins the flight of `key` and waits for it. `None` if there is none.
pub(crate) fn follow_found<V, P>(
    reducer: &Reducer,
    hash: u32,
    site: Site,
    key: &P,
) -> Option<Outcome<V>>
where
    V: Clone + Send + Sync + 'static,
    P: Key,
{
    loop {
        match reducer.registry.find::<V, P>(&reducer.options, hash, site, key) {
            Admission::Absent => return None,
            admission => {
                if let Some(outcome) = follow(reducer, admission) {
                    return Some(outcome);
                }
            }
        }
    }
}

/// Waits for the flight's outcome. `None` if all there was to wait for is its end: look again.
fn follow<V>(reducer: &Reducer, admission: Admission) -> Option<Outcome<V>>
where
    V: Clone + Send + Sync + 'static,
{
    match admission {
        Admission::Joined(flight) => {
            let mut waiting =
                pin!(Waiting::of(&mut Place::new(flight, reducer, Stake::Follower)).parking());
            let mut failed = None;
            let value = park_until(|cx| waiting.as_mut().poll(cx, &mut failed));
            Some(either(value, &mut failed))
        }
        Admission::Ending(flight) => {
            let mut waiting = pin!(
                Waiting::<_, V>::of(&mut Place::new(flight, reducer, Stake::Bystander)).parking()
            );
            park_until(|cx| waiting.as_mut().poll_ended(cx));
            None
        }
        Admission::Refused(error) => Some(Err(error)),
        Admission::Led(_) | Admission::Absent => None,
    }
}

/// Runs the work in this thread, which has had the seat since the flight was made.
fn lead<K, V>(reducer: &Reducer, flight: Hold, work: impl FnOnce(&K) -> V) -> Outcome<V>
where
    K: Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    let mut link = Link::default();
    // No ring can be closed by a flight that waits on nothing yet: only the edge is wanted here.
    let _ = link.refresh(&flight);
    let mut failed = None;
    let value = within(&flight, || {
        let key = flight.key().expect("launched with this key");
        let span = flight.core().span();
        let mut value = None;
        let run = catch_unwind(AssertUnwindSafe(|| {
            let _entered = span.enter();
            value = Some(work(key));
        }));
        if let Err(payload) = run {
            if value.is_some() {
                // It was done; it was the end of the span that was not.
                quietly(|| drop(payload));
            } else {
                failed = Some(wreck(&flight, payload));
            }
        }
        flight.tell_landing(reducer.rows(), value.as_ref(), failed.as_ref());
        value
    });
    let value = flight.land(value, &mut failed, reducer.rows(), true);
    link.cut(&flight);
    let value = flight.came_to(value, &mut failed);
    drop(flight);
    either(value, &mut failed)
}

thread_local! {
    /// This thread's waker, unless it is in use further up the stack.
    static PARKED: Cell<Option<(Arc<Parked>, Waker)>> = Cell::default();
}

/// A thread that waits. The flag, not the park token, says that it was woken: user code that runs in
/// between may park too, and take the token.
struct Parked {
    thread: Thread,
    woken: AtomicBool,
}

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Release: what the waker did comes before what the thread does when it sees the flag.
        if !self.woken.swap(true, Ordering::Release) {
            self.thread.unpark();
        }
    }
}

/// Polls until ready, and parks in between.
fn park_until<T>(mut poll: impl FnMut(&mut Context<'_>) -> Poll<T>) -> T {
    let own = PARKED.try_with(Cell::take).ok().flatten();
    let (parked, waker) = own.unwrap_or_else(|| {
        let parked = Arc::new(Parked { thread: thread::current(), woken: AtomicBool::new(false) });
        (Arc::clone(&parked), Waker::from(parked))
    });
    loop {
        if let Poll::Ready(value) = poll(&mut Context::from_waker(&waker)) {
            let _ = PARKED.try_with(|cell| cell.set(Some((parked, waker))));
            return value;
        }
        // Acquire: pairs with the Release in `wake_by_ref`.
        while !parked.woken.swap(false, Ordering::Acquire) {
            thread::park();
        }
    }
}
