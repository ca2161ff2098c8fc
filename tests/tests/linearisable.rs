//! Random programs on several threads, and a look at their history: is there an order of the calls in which a
//! reducer without any concurrency would have done the same?
//!
//! Every call, work and `forget` is stamped, when it begins and when it is over, by one counter for all threads. A
//! flight is known by the call that led it. Of each history is asked:
//!
//! 1. Every call that was neither dropped nor forgotten has one outcome, of a flight with its key.
//! 2. All calls of one flight overlap: none begins after another has come back with its outcome. None comes back before
//!    the work has begun.
//! 3. Two works of one key overlap only if a `forget` of it came between their calls.
//! 4. No call that begins after a `forget` has the outcome of work that began before it.
//! 5. In the end there is no row, no work, and nobody who sleeps.

use std::hash::{Hash, Hasher};
use std::mem;
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::SeqCst};
use std::sync::{Arc, Barrier, Mutex};
use std::task::{Poll, Waker};
use std::thread;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt as _, poll_fn};
use reducer_core::{ReduceError, Reduced, Reducer, Role};
use reducer_tests::{ByHand, Dice, panic_message, programs};
use tokio::runtime::Runtime;

const THREADS: usize = 4;
const KEYS: usize = 2;
/// By each thread.
const STEPS: usize = 30;
/// As many more calls may be needed to land what only forgotten callers are aboard of.
const CLOSERS: usize = 2 * KEYS;

/// A key; in some programs all have the same hash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Key {
    number: usize,
    collides: bool,
}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        if !self.collides {
            self.number.hash(state);
        }
    }
}

/// What is known of one call, and of its work if that was run. A stamp of 0: it never was.
#[derive(Default)]
struct Entry {
    key: AtomicU64,
    begun: AtomicU64,
    back: AtomicU64,
    /// The flight whose outcome it has, counted from 1.
    flight: AtomicU64,
    work_begun: AtomicU64,
    work_over: AtomicU64,
    /// It may have no outcome.
    is_gone: AtomicBool,
}

impl Entry {
    fn is_running(&self) -> bool {
        self.work_begun.load(SeqCst) != 0 && self.work_over.load(SeqCst) == 0
    }
}

struct World {
    reducer: Reducer,
    collides: bool,
    /// Some callers are forgotten with their futures, and works with them.
    leaks: bool,
    /// Fewer than these each work takes. Of many naps a flight gets a task of its own, where there is a runtime.
    naps: usize,
    clock: AtomicU64,
    entries: Vec<Entry>,
    /// Works that wait until somebody wakes them.
    asleep: Mutex<Vec<(Arc<AtomicBool>, Waker)>>,
    /// Calls that any thread may poll.
    shared: Mutex<Vec<Held>>,
}

/// A call that was polled, or not yet, and is kept.
struct Held {
    call: usize,
    task: ByHand<BoxFuture<'static, ()>>,
}

/// What a work does.
#[derive(Clone, Copy)]
struct Plan {
    naps: usize,
    is_woken_by_others: bool,
    panics: bool,
}

impl World {
    fn new(seed: u64) -> Arc<Self> {
        let entries = (0..THREADS * STEPS + CLOSERS).map(|_| Entry::default()).collect();
        Arc::new(Self {
            reducer: Reducer::new(),
            collides: seed & 4 == 0,
            leaks: seed & 2 == 0,
            naps: if seed & 1 == 0 { 4 } else { 12 },
            clock: AtomicU64::new(1),
            entries,
            asleep: Mutex::default(),
            shared: Mutex::default(),
        })
    }

    fn plan(&self, dice: &mut Dice) -> Plan {
        Plan {
            naps: dice.below(self.naps),
            is_woken_by_others: dice.below(2) == 0,
            panics: dice.below(6) == 0,
        }
    }

    fn stamp(&self) -> u64 {
        self.clock.fetch_add(1, SeqCst)
    }

    fn key(&self, number: usize) -> Key {
        Key { number, collides: self.collides }
    }

    /// Wakes one of the works that sleep.
    fn wake_one(&self, at: usize) -> bool {
        let sleeper = {
            let mut asleep = self.asleep.lock().unwrap();
            let count = asleep.len();
            (count > 0).then(|| asleep.swap_remove(at % count))
        };
        let Some((is_woken, waker)) = sleeper else { return false };
        is_woken.store(true, SeqCst);
        waker.wake();
        true
    }

    fn nap(self: &Arc<Self>) -> impl Future<Output = ()> + Send + use<> {
        let (world, is_woken) = (Arc::clone(self), Arc::new(AtomicBool::new(false)));
        poll_fn(move |cx| {
            if is_woken.load(SeqCst) {
                return Poll::Ready(());
            }
            let sleeper = (Arc::clone(&is_woken), cx.waker().clone());
            world.asleep.lock().unwrap().push(sleeper);
            Poll::Pending
        })
    }

    /// The work of `call`.
    fn work(
        self: &Arc<Self>,
        call: usize,
        plan: Plan,
    ) -> impl Future<Output = usize> + Send + use<> {
        let world = Arc::clone(self);
        async move {
            let _running = Running::begin(&world, call);
            for _ in 0..plan.naps {
                if plan.is_woken_by_others {
                    world.nap().await;
                } else {
                    yield_once().await;
                }
            }
            if plan.panics {
                resume_unwind(Box::new(call.to_string()));
            }
            call
        }
    }

    /// A call by a task. It begins when it is first polled.
    fn call(self: &Arc<Self>, call: usize, key: usize, plan: Plan, is_lazy: bool) -> Held {
        let world = Arc::clone(self);
        let task = async move {
            world.begin(call, key);
            let (key, reducer) = (world.key(key), &world.reducer);
            let outcome = if is_lazy {
                let value = reducer.reduce_with(key, || world.work(call, plan));
                match AssertUnwindSafe(value).catch_unwind().await {
                    Ok(value) => (value, None),
                    Err(payload) => (panic_message(payload).parse().unwrap(), None),
                }
            } else {
                read(reducer.try_reduce(key, world.work(call, plan)).await)
            };
            world.end(call, outcome);
        };
        Held { call, task: ByHand::new(task.boxed()) }
    }

    fn call_blocking(self: &Arc<Self>, call: usize, key: usize, plan: Plan) {
        self.begin(call, key);
        let outcome = self.reducer.try_reduce_blocking(self.key(key), || {
            let _running = Running::begin(self, call);
            (0..plan.naps).for_each(|_| thread::yield_now());
            if plan.panics {
                resume_unwind(Box::new(call.to_string()));
            }
            call
        });
        self.end(call, read(outcome));
    }

    fn begin(&self, call: usize, key: usize) {
        self.entries[call].key.store(key as u64, SeqCst);
        self.entries[call].begun.store(self.stamp(), SeqCst);
    }

    fn end(&self, call: usize, (flight, role): (usize, Option<Role>)) {
        let entry = &self.entries[call];
        if let Some(role) = role {
            assert_eq!(role == Role::Led, flight == call, "who leads runs its own work");
        }
        assert_eq!(entry.flight.swap(flight as u64 + 1, SeqCst), 0, "two outcomes");
        entry.back.store(self.stamp(), SeqCst);
    }
}

/// The flight that an outcome is of.
fn read(outcome: Result<Reduced<usize>, ReduceError>) -> (usize, Option<Role>) {
    match outcome {
        Ok(Reduced { value, role, .. }) => (value, Some(role)),
        Err(ReduceError::Panicked(panicked)) => (panicked.message().parse().unwrap(), None),
        Err(error) => panic!("{error}"),
    }
}

/// Suspends once, and wakes itself.
fn yield_once() -> impl Future<Output = ()> + Send {
    let mut is_over = false;
    poll_fn(move |cx| {
        if mem::replace(&mut is_over, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

/// A work, from its first line to its destructor.
struct Running(Arc<World>, usize);

impl Running {
    fn begin(world: &Arc<World>, call: usize) -> Self {
        let before = world.entries[call].work_begun.swap(world.stamp(), SeqCst);
        assert_eq!(before, 0, "a work was run twice");
        Self(Arc::clone(world), call)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // A destructor that takes its time.
        thread::yield_now();
        self.0.entries[self.1].work_over.store(self.0.stamp(), SeqCst);
    }
}

/// One `forget`.
struct Forget {
    key: usize,
    begun: u64,
    over: u64,
}

/// What one thread does.
fn act(
    world: &Arc<World>,
    calls: std::ops::Range<usize>,
    mut dice: Dice,
) -> (Vec<Held>, Vec<Forget>) {
    let (mut held, mut forgets) = (Vec::<Held>::new(), Vec::new());
    for call in calls {
        let key = dice.below(KEYS);
        let at = dice.below(held.len().max(1));
        match dice.below(14) {
            0..=4 => {
                let is_lazy = dice.below(3) == 0;
                let mut caller = world.call(call, key, world.plan(&mut dice), is_lazy);
                if dice.below(8) == 0 || caller.task.poll().is_pending() {
                    held.push(caller);
                }
            }
            5..=7 if !held.is_empty() => {
                if held[at].task.poll().is_ready() {
                    drop(held.swap_remove(at));
                }
            }
            8 if !held.is_empty() => {
                let caller = held.swap_remove(at);
                world.entries[caller.call].is_gone.store(true, SeqCst);
                if world.leaks && dice.below(3) == 0 {
                    mem::forget(caller.task);
                }
            }
            9 if !held.is_empty() => world.shared.lock().unwrap().push(held.swap_remove(at)),
            9 | 10 => {
                let other = world.shared.lock().unwrap().pop();
                if let Some(mut other) = other
                    && other.task.poll().is_pending()
                {
                    held.push(other);
                }
            }
            11 => {
                let begun = world.stamp();
                world.reducer.forget(&world.key(key));
                forgets.push(Forget { key, begun, over: world.stamp() });
            }
            12 => world.call_blocking(call, key, world.plan(&mut dice)),
            _ => drop(world.wake_one(at)),
        }
    }
    (held, forgets)
}

/// Polls whoever is woken until all have their outcomes.
fn settle(world: &World, tasks: &mut Vec<Held>, is_alone: bool) {
    while !tasks.is_empty() {
        let mut has_moved = world.wake_one(0);
        tasks.retain_mut(|held| {
            let is_woken = held.task.is_woken();
            has_moved |= is_woken;
            !(is_woken && held.task.poll().is_ready())
        });
        if !has_moved {
            // A flight's own task may be about to.
            assert!(!is_alone, "{} callers sleep, and nobody will wake them", tasks.len());
            thread::yield_now();
        }
    }
}

fn run(runtime: &Runtime, seed: u64) {
    let world = World::new(seed);
    let mut dice = Dice::new(seed);
    // Without a runtime no flight has a task of its own, and nobody but the callers can move it.
    let is_alone = seed & 1 == 0;
    let (mut held, mut forgets) = (Vec::new(), Vec::new());
    let all_here = Barrier::new(THREADS);
    thread::scope(|threads| {
        let actors: Vec<_> = (0..THREADS)
            .map(|thread| {
                let calls = thread * STEPS..(thread + 1) * STEPS;
                let (world, all_here) = (&world, &all_here);
                let dice = Dice::new(dice.below(usize::MAX) as u64);
                threads.spawn(move || {
                    let _entered = (!is_alone).then(|| runtime.enter());
                    all_here.wait();
                    act(world, calls, dice)
                })
            })
            .collect();
        // Threads that wait for a flight need somebody to wake its work.
        while !actors.iter().all(thread::ScopedJoinHandle::is_finished) {
            if !world.wake_one(0) {
                thread::sleep(Duration::from_micros(20));
            }
        }
        for actor in actors {
            let (left, forgot) = actor.join().unwrap_or_else(|payload| resume_unwind(payload));
            held.extend(left);
            forgets.extend(forgot);
        }
    });
    let _entered = (!is_alone).then(|| runtime.enter());
    held.append(&mut world.shared.lock().unwrap());
    settle(&world, &mut held, is_alone);

    // Flights that only forgotten callers are aboard of land when somebody else is.
    let plan = Plan { naps: 0, is_woken_by_others: false, panics: false };
    for closer in 0..CLOSERS {
        if world.reducer.in_flight() > 0 {
            held.push(world.call(THREADS * STEPS + closer, closer % KEYS, plan, false));
            settle(&world, &mut held, is_alone);
        }
    }
    assert_eq!(world.reducer.in_flight(), 0, "rows without flights");
    while !world.leaks && world.entries.iter().any(Entry::is_running) {
        // A flight's own task may be about to drop it.
        assert!(!is_alone, "a work is left behind");
        thread::yield_now();
    }
    check(&world.entries, &forgets);
    // What is asleep still is of flights that were forgotten with all their callers.
    world.asleep.lock().unwrap().clear();
}

fn check(entries: &[Entry], forgets: &[Forget]) {
    let calls: Vec<_> = entries.iter().map(Seen::of).collect();
    let between = |key: usize, after: u64, before: u64| {
        forgets
            .iter()
            .any(|forget| forget.key == key && forget.over > after && forget.begun < before)
    };
    for (number, call) in calls.iter().enumerate().filter(|(_, call)| call.begun != 0) {
        let Some(flight) = call.flight else {
            assert!(call.is_gone, "call {number} has no outcome");
            continue;
        };
        let leader = &calls[flight];
        assert_eq!(call.key, leader.key, "call {number} has another key's outcome");
        assert!(
            leader.work_begun != 0 && leader.work_begun < call.back,
            "call {number} is too early"
        );
        for forget in forgets.iter().filter(|forget| forget.key == call.key) {
            assert!(
                forget.over > call.begun || leader.work_begun > forget.begun,
                "call {number} joined work from before a `forget`"
            );
        }
        for other in calls.iter().filter(|other| other.flight == Some(flight)) {
            assert!(
                call.begun < other.back,
                "call {number} joined flight {flight}, which was over"
            );
        }
    }
    for first in calls.iter().filter(|call| call.work_begun != 0) {
        for next in calls.iter().filter(|next| next.key == first.key) {
            let overlaps = first.work_begun < next.work_begun
                && (first.work_over == 0 || first.work_over > next.work_begun);
            // Who has the key first may be the last to begin its work.
            let is_parted = between(first.key, first.begun, next.work_begun)
                || between(first.key, next.begun, first.work_begun);
            assert!(!overlaps || is_parted, "two works of key {} at once", first.key);
        }
    }
}

/// An entry, when nothing changes it any more.
struct Seen {
    key: usize,
    begun: u64,
    back: u64,
    flight: Option<usize>,
    work_begun: u64,
    work_over: u64,
    is_gone: bool,
}

impl Seen {
    fn of(entry: &Entry) -> Self {
        let stamp = |stamp: &AtomicU64| stamp.load(SeqCst);
        Self {
            key: stamp(&entry.key) as usize,
            begun: stamp(&entry.begun),
            back: stamp(&entry.back),
            flight: stamp(&entry.flight).checked_sub(1).map(|flight| flight as usize),
            work_begun: stamp(&entry.work_begun),
            work_over: stamp(&entry.work_over),
            is_gone: entry.is_gone.load(SeqCst),
        }
    }
}

#[test]
fn threads_and_tasks_have_histories_that_a_reducer_without_concurrency_could_have() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().unwrap();
    programs(100_000, (THREADS * STEPS) as u64, |seed| run(&runtime, seed));
}
