//! What everybody is put through. All contests are in ratios to a floor.

use std::collections::HashMap;
use std::future::{Future, poll_fn};
use std::hint::black_box;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Barrier, OnceLock};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::{Duration, Instant};

use benches::allocations::bytes_in_use;
use benches::floor::Floor;
use benches::work::{Check, Events, Plan, Value, block_on, drive, work};
use benches::{Contest, sorted};
use parking_lot::Mutex;
use reducer_core::{Reducer, reduceable};
use tokio::runtime::{Builder, Runtime};

use crate::contenders::{Bare, Contender, Key, Least, Ours, Spawned, Visit, all, sharing};

pub(crate) fn current_thread() -> Runtime {
    Builder::new_current_thread().build().expect("a runtime can be built")
}

/// A runtime that comes back to its first future when so many tasks have run, and not after every 61 of them.
fn all_in_turn(tasks: usize) -> Runtime {
    let mut builder = Builder::new_current_thread();
    builder.event_interval(u32::try_from(tasks).expect("so many are no crowd"));
    builder.build().expect("a runtime can be built")
}

fn two_workers() -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(2).enable_io().build().expect("a runtime can be built")
}

/// One caller, a key of its own each time.
pub(crate) fn alone(title: &str, suspensions: u16, calls: u64) -> Contest {
    let mut alone = Alone::<u64>::new(title, suspensions, calls);
    all(&mut alone);
    alone.contest
}

/// The same in a task, which goes back to its runtime when the work is suspended.
pub(crate) fn alone_in_a_task(title: &str, suspensions: u16, calls: u64) -> Contest {
    let mut alone = Alone::<u64>::new(title, suspensions, calls);
    (alone.plan, alone.in_a_task) = (Plan::Yields(suspensions), true);
    all(&mut alone);
    alone.contest
}

/// The same with keys of 36 bytes, which the caller borrows.
pub(crate) fn alone_by_name(title: &str, calls: u64) -> Contest {
    let mut alone = Alone::<String>::new(title, 0, calls);
    all(&mut alone);
    alone.contest
}

struct Alone<K> {
    contest: Contest,
    plan: Plan,
    in_a_task: bool,
    keys: Arc<Vec<K>>,
}

impl<K: Key> Alone<K> {
    fn new(title: &str, suspensions: u16, calls: u64) -> Self {
        Self {
            contest: Contest::new(title).calls(calls),
            plan: Plan::Wakes(suspensions),
            in_a_task: false,
            keys: Arc::new((0..calls).map(K::nth).collect()),
        }
    }
}

impl<K: Key> Visit<K> for Alone<K> {
    fn visit<C: Contender<K>>(&mut self) {
        let contender = C::new(self.plan.clone());
        let keys = Arc::clone(&self.keys);
        if self.in_a_task {
            let runtime = current_thread();
            self.contest.enter(C::NAME, move || {
                let (contender, keys) = (contender.clone(), Arc::clone(&keys));
                let calls = async move {
                    for key in &*keys {
                        black_box(contender.call(key.borrow()).await);
                    }
                };
                let task = async { tokio::spawn(calls).await.expect("no contender panics") };
                runtime.block_on(task);
            });
        } else if C::NEEDS_TOKIO {
            let runtime = current_thread();
            self.contest.enter(C::NAME, move || {
                runtime.block_on(async {
                    for key in &*keys {
                        black_box(contender.call(key.borrow()).await);
                    }
                });
            });
        } else {
            self.contest.enter(C::NAME, move || {
                for key in &*keys {
                    black_box(drive(contender.call(key.borrow())));
                }
            });
        }
    }
}

/// So many tasks call one key, which is released by so many events from outside. A round is as many such crowds as make ten
/// thousand callers: one of ten would be over before its code is in the cache.
pub(crate) fn crowd(title: &str, callers: usize, events: u16) -> Contest {
    let crowds = (10_000 / callers).max(1);
    let contest = Contest::new(title).calls((crowds * callers) as u64);
    let mut crowd = Crowd { contest, crowds, callers, events };
    crowd.visit::<Bare>();
    crowd.contest.compare_with_last();
    crowd.visit::<Spawned>();
    sharing(&mut crowd);
    crowd.contest
}

struct Crowd {
    contest: Contest,
    crowds: usize,
    callers: usize,
    events: u16,
}

impl Visit<u64> for Crowd {
    fn visit<C: Contender<u64>>(&mut self) {
        let happened = Events::default();
        let (crowds, callers, events) = (self.crowds, self.callers, self.events);
        let contender = C::new(Plan::events(&happened, events));
        let runtime = all_in_turn(callers);
        self.contest.enter(C::NAME, move || {
            for _ in 0..crowds {
                released(&runtime, &contender, callers, &happened, events);
            }
        });
    }
}

/// Bytes of heap for each of so many that have joined, and how often all were polled.
fn released<C: Contender<u64>>(
    runtime: &Runtime,
    contender: &C,
    callers: usize,
    happened: &Events,
    events: u16,
) -> (f64, usize) {
    happened.reset();
    let counts = Arc::new((AtomicUsize::new(0), AtomicUsize::new(0)));
    let (joined, polls) = &*counts;
    runtime.block_on(async {
        let mut tasks = Vec::with_capacity(callers);
        let before = bytes_in_use();
        for _ in 0..callers {
            let (contender, counts) = (contender.clone(), Arc::clone(&counts));
            tasks.push(tokio::spawn(async move {
                counts.0.fetch_add(1, Relaxed);
                let mut call = pin!(contender.call(&7));
                poll_fn(|cx| {
                    counts.1.fetch_add(1, Relaxed);
                    call.as_mut().poll(cx)
                })
                .await
            }));
        }
        // Some spawn the work.
        pause().await;
        assert_eq!(joined.load(Relaxed), callers);
        let bytes = bytes_in_use() - before;
        for _ in 0..events {
            happened.happen();
            pause().await;
        }
        for task in tasks {
            black_box(task.await.expect("no contender panics"));
        }
        (bytes as f64 / callers as f64, polls.load(Relaxed))
    })
}

/// All tasks run, and those that they woke.
async fn pause() {
    for _ in 0..3 {
        tokio::task::yield_now().await;
    }
}

/// What there is to tell of a contender, in the order of visits.
pub(crate) type Facts = Vec<(&'static str, Vec<(String, String)>)>;

/// Of a crowd: bytes for each caller, and polls of all with twenty events.
pub(crate) fn crowd_facts(callers: usize) -> Facts {
    struct Look(usize, Facts);
    impl Visit<u64> for Look {
        fn visit<C: Contender<u64>>(&mut self) {
            let runtime = all_in_turn(self.0);
            let measure = |events| {
                let happened = Events::default();
                let contender = C::new(Plan::events(&happened, events));
                // The first round warms up.
                released(&runtime, &contender, self.0, &happened, events);
                released(&runtime, &contender, self.0, &happened, events)
            };
            let facts = vec![
                ("W3 B/caller".into(), format!("{:.0}", measure(1).0)),
                ("W4 polls".into(), measure(20).1.to_string()),
            ];
            self.1.push((C::NAME, facts));
        }
    }
    let mut look = Look(callers, Vec::new());
    look.visit::<Bare>();
    look.visit::<Spawned>();
    sharing(&mut look);
    look.1
}

const TASKS: usize = 64;

/// Keys below `keys`, by zipf's law.
fn zipf(keys: usize, count: usize) -> Arc<Vec<u64>> {
    let weights: Vec<f64> = (1..=keys)
        .scan(0.0, |sum, rank| {
            *sum += (rank as f64).powf(-0.99);
            Some(*sum)
        })
        .collect();
    let mut dice = 1u64;
    let draw = |_| {
        dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let at = (dice >> 11) as f64 / (1u64 << 53) as f64 * weights[keys - 1];
        weights.partition_point(|weight| *weight < at) as u64
    };
    Arc::new((0..count).map(draw).collect())
}

/// Tasks on two workers; each call's work lets other tasks run once.
pub(crate) fn mixed(title: &str, keys: usize, calls: usize) -> Contest {
    let keys = zipf(keys, TASKS * calls);
    let mut mixed = Mixed { contest: Contest::new(title).calls(keys.len() as u64), keys };
    mixed.visit::<Least<u64>>();
    mixed.visit::<Bare>();
    mixed.visit::<Spawned>();
    sharing(&mut mixed);
    mixed.contest
}

struct Mixed {
    contest: Contest,
    keys: Arc<Vec<u64>>,
}

impl Visit<u64> for Mixed {
    fn visit<C: Contender<u64>>(&mut self) {
        if C::KEEPS {
            return;
        }
        let contender = C::new(Plan::Yields(1));
        let (runtime, keys) = (two_workers(), Arc::clone(&self.keys));
        self.contest.enter(C::NAME, move || tasks(&runtime, &contender, &keys));
    }
}

fn tasks<C: Contender<u64>>(runtime: &Runtime, contender: &C, keys: &Arc<Vec<u64>>) {
    let tasks: Vec<_> = (0..TASKS)
        .map(|task| {
            let (keys, contender) = (Arc::clone(keys), contender.clone());
            runtime.spawn(async move {
                let each = keys.len() / TASKS;
                for key in &keys[task * each..(task + 1) * each] {
                    black_box(contender.call(key).await);
                }
            })
        })
        .collect();
    runtime.block_on(async {
        for task in tasks {
            task.await.expect("no contender panics");
        }
    });
}

/// Of the same mix: how many calls had work of their own, and how often two works of one key overlapped.
pub(crate) fn mixed_facts(keys: usize, calls: usize) -> Facts {
    struct Look(usize, Arc<Vec<u64>>, Facts);
    impl Visit<u64> for Look {
        fn visit<C: Contender<u64>>(&mut self) {
            let check = Check::new(self.0);
            let contender = C::new(Plan::Checked(Arc::clone(&check)));
            tasks(&two_workers(), &contender, &self.1);
            let works = check.works.load(Relaxed) as f64 / self.1.len() as f64 * 100.0;
            let facts = vec![
                ("W5 works, % of calls".into(), format!("{works:.1}")),
                ("W5 overlapping works".into(), check.overlapping.load(Relaxed).to_string()),
            ];
            self.2.push((C::NAME, facts));
        }
    }
    let mut look = Look(keys, zipf(keys, TASKS * calls), Vec::new());
    look.visit::<Bare>();
    sharing(&mut look);
    look.2
}

/// A thousand tasks at once, twenty on each key: nineteen of twenty calls join.
pub(crate) fn joins(title: &str) -> Contest {
    struct Joins(Contest);
    impl Visit<u64> for Joins {
        fn visit<C: Contender<u64>>(&mut self) {
            if C::KEEPS {
                return;
            }
            let contender = C::new(Plan::Yields(1));
            let runtime = current_thread();
            self.0.enter(C::NAME, move || {
                runtime.block_on(async {
                    let tasks: Vec<_> = (0..1_000u64)
                        .map(|n| {
                            let contender = contender.clone();
                            tokio::spawn(async move { contender.call(&(n % 50)).await })
                        })
                        .collect();
                    for task in tasks {
                        black_box(task.await.expect("no contender panics"));
                    }
                });
            });
        }
    }
    let mut joins = Joins(Contest::new(title).calls(1_000));
    joins.visit::<Least<u64>>();
    joins.visit::<Bare>();
    joins.visit::<Spawned>();
    sharing(&mut joins);
    joins.0
}

/// A web server and its clients, in one process: so many connections, each asks again and again.
#[cfg(feature = "peers")]
pub(crate) fn service(title: &str, calls: usize) -> Contest {
    struct Served(Contest, Arc<Vec<u64>>);
    impl Visit<u64> for Served {
        fn visit<C: Contender<u64>>(&mut self) {
            if C::KEEPS {
                return;
            }
            let (runtime, keys) = (two_workers(), Arc::clone(&self.1));
            let address = runtime.block_on(serve(C::new(Plan::Query)));
            self.0.enter(C::NAME, move || {
                let clients: Vec<_> = (0..TASKS)
                    .map(|client| {
                        let keys = Arc::clone(&keys);
                        runtime.spawn(async move {
                            let each = keys.len() / TASKS;
                            ask(address, &keys[client * each..(client + 1) * each]).await;
                        })
                    })
                    .collect();
                runtime.block_on(async {
                    for client in clients {
                        client.await.expect("every answer is well");
                    }
                });
            });
        }
    }
    async fn serve<C: Contender<u64>>(contender: C) -> std::net::SocketAddr {
        use axum::extract::{Path, State};
        let answer = async |State(contender): State<C>, Path(key): Path<u64>| {
            contender.call(&key).await.to_string()
        };
        let app =
            axum::Router::new().route("/{key}", axum::routing::get(answer)).with_state(contender);
        let listener =
            tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound");
        tokio::spawn(async move { axum::serve(listener, app).await });
        address
    }
    async fn ask(address: std::net::SocketAddr, keys: &[u64]) {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let mut stream = tokio::net::TcpStream::connect(address).await.expect("it listens");
        let mut answer = [0; 512];
        for key in keys {
            let request = format!("GET /{key} HTTP/1.1\r\nhost: localhost\r\n\r\n");
            stream.write_all(request.as_bytes()).await.expect("it reads");
            // Head and body come in one piece, so short are they.
            let length = stream.read(&mut answer).await.expect("it answers");
            assert!(answer[..length].starts_with(b"HTTP/1.1 200"));
        }
    }
    let keys = zipf(100, TASKS * calls);
    let mut served = Served(Contest::new(title).calls(keys.len() as u64), keys);
    served.visit::<Bare>();
    served.0.compare_with_last();
    sharing(&mut served);
    served.0
}

/// Bytes of heap for each of so many keys in flight, beside the caller's future; and the size of that.
fn held<C: Contender<u64>>(keys: u64) -> (f64, usize) {
    let contender = C::new(Plan::Never);
    current_thread().block_on(async {
        let keys: Vec<u64> = (0..keys).collect();
        let mut calls: Vec<_> = keys.iter().map(|key| Box::pin(contender.call(key))).collect();
        let before = bytes_in_use();
        poll_fn(|cx| {
            for call in &mut calls {
                assert!(call.as_mut().poll(cx).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        // Some spawn the work.
        pause().await;
        let bytes = (bytes_in_use() - before) as f64 / keys.len() as f64;
        (bytes, size_of_val(&*calls[0]))
    })
}

/// W6, of everybody.
pub(crate) fn held_facts(title: &str, keys: u64) -> Facts {
    struct Look<'a>(&'a str, u64, Facts);
    impl Visit<u64> for Look<'_> {
        fn visit<C: Contender<u64>>(&mut self) {
            let (bytes, size) = held::<C>(self.1);
            let facts = vec![(self.0.to_owned(), format!("{bytes:.0} ({size})"))];
            self.2.push((C::NAME, facts));
        }
    }
    let mut look = Look(title, keys, Vec::new());
    all(&mut look);
    look.2
}

/// Only who must do well with a million keys.
pub(crate) fn million_facts(title: &str, keys: u64) -> Facts {
    let row = |name, (bytes, size): (f64, usize)| {
        (name, vec![(title.to_owned(), format!("{bytes:.0} ({size})"))])
    };
    vec![
        row(<Least<u64> as Contender<u64>>::NAME, held::<Least<u64>>(keys)),
        row(<Ours as Contender<u64>>::NAME, held::<Ours>(keys)),
    ]
}

/// So many threads, each with a key of its own or all with one.
pub(crate) fn threads(title: &str, threads: usize, hot: bool, calls: u64) -> Contest {
    struct Threads {
        contest: Contest,
        threads: usize,
        hot: bool,
        each: u64,
    }
    impl Visit<u64> for Threads {
        fn visit<C: Contender<u64>>(&mut self) {
            if C::KEEPS || C::NEEDS_TOKIO {
                return;
            }
            let contender = C::new(Plan::Wakes(0));
            let (threads, hot, each) = (self.threads, self.hot, self.each);
            self.contest.enter(C::NAME, move || {
                thread::scope(|scope| {
                    for n in 0..threads as u64 {
                        let contender = &contender;
                        scope.spawn(move || {
                            for call in 0..each {
                                let key = if hot { 7 } else { n * each + call };
                                black_box(block_on(contender.call(&key)));
                            }
                        });
                    }
                });
            });
        }
    }
    let each = calls / threads as u64;
    let contest = Contest::new(title).calls(calls);
    let mut threads = Threads { contest, threads, hot, each };
    threads.visit::<Least<u64>>();
    sharing(&mut threads);
    threads.contest
}

/// Plain threads: fifty on one key, whose work takes a while.
pub(crate) fn blocking_crowd(title: &str) -> Contest {
    fn fifty(call: impl Fn() -> Value + Sync + 'static) -> impl FnMut() + 'static {
        move || {
            let start = Barrier::new(50);
            thread::scope(|scope| {
                for _ in 0..50 {
                    scope.spawn(|| {
                        start.wait();
                        black_box(call());
                    });
                }
            });
        }
    }
    fn work() -> Value {
        thread::sleep(Duration::from_millis(2));
        Arc::new(7)
    }
    let reducer = Reducer::new();
    let cells = ByHand::default();
    let contest = Contest::new(title)
        .calls(50)
        .with("floor 1: everybody sleeps", fifty(work))
        .with("**`reduce_blocking`**", fifty(move || reducer.reduce_blocking(7u64, work)))
        .with("**`#[reduceable]`** on a plain `fn`", fifty(|| in_a_thread(7, true)))
        .with("map of std's `OnceLock`", fifty(move || cells.call(7, work)));
    #[cfg(feature = "peers")]
    let contest = {
        let (moka, quick) = crate::peers::blocking_caches();
        contest
            .with("moka, which forgets", fifty(move || moka(7, &work)))
            .with("quick_cache, which forgets", fifty(move || quick(7, &work)))
    };
    contest
}

/// The same door, one thread, a key of its own each time.
pub(crate) fn blocking_alone(title: &str, calls: u64) -> Contest {
    fn each(calls: u64, call: impl Fn(u64) -> Value + 'static) -> impl FnMut() + 'static {
        move || {
            for key in 0..calls {
                black_box(call(key));
            }
        }
    }
    fn work(key: u64) -> Value {
        Arc::new(black_box(key))
    }
    let floor = Floor::default();
    let reducer = Reducer::new();
    let cells = ByHand::default();
    let contest = Contest::new(title)
        .calls(calls)
        .with(
            "floor 2: what a leader must do",
            each(calls, move |key| floor.call_blocking(key, || work(key))),
        )
        .with("floor 1: the bare call", each(calls, work))
        .with(
            "**`reduce_blocking`**",
            each(calls, move |key| reducer.reduce_blocking(key, || work(key))),
        )
        .with("**`#[reduceable]`** on a plain `fn`", each(calls, |key| in_a_thread(key, false)))
        .with("map of std's `OnceLock`", each(calls, move |key| cells.call(key, || work(key))));
    #[cfg(feature = "peers")]
    let contest = {
        let (moka, quick) = crate::peers::blocking_caches();
        contest
            .with("moka, which forgets", each(calls, move |key| moka(key, &|| work(key))))
            .with("quick_cache, which forgets", each(calls, move |key| quick(key, &|| work(key))))
    };
    contest
}

#[reduceable(skip(sleeps))]
fn in_a_thread(key: u64, sleeps: bool) -> Value {
    if sleeps {
        thread::sleep(Duration::from_millis(2));
    }
    Arc::new(black_box(key))
}

/// What one would write by hand, for threads.
#[derive(Default)]
struct ByHand(Mutex<HashMap<u64, Arc<OnceLock<Value>>>>);

impl ByHand {
    fn call(&self, key: u64, work: impl FnOnce() -> Value) -> Value {
        let cell = Arc::clone(self.0.lock().entry(key).or_default());
        let value = Arc::clone(cell.get_or_init(work));
        let mut rows = self.0.lock();
        if rows.get(&key).is_some_and(|row| Arc::ptr_eq(row, &cell)) {
            rows.remove(&key);
        }
        value
    }
}

/// The attribute beside the core by hand: the same calls.
pub(crate) fn attribute(title: &str, calls: u64) -> Contest {
    #[reduceable]
    async fn of_number(key: u64) -> Value {
        work(key, 0).await
    }
    #[reduceable]
    async fn of_name(name: &str) -> Value {
        work(name.len() as u64, 0).await
    }
    #[reduceable(key = key)]
    async fn of_many(key: u64, _page: &str, _trace: u64) -> Value {
        work(key, 0).await
    }
    let names: Arc<Vec<String>> = Arc::new((0..calls).map(Key::nth).collect());
    let same = Arc::clone(&names);
    let boxed = Reducer::new();
    // By hand as one would write them without the attribute: async functions whose body is the work.
    async fn of_number_by_hand(key: u64) -> Value {
        let work = move || async move { work(key, 0).await };
        Reducer::global().reduce_with(key, work).await
    }
    async fn of_name_by_hand(name: &str) -> Value {
        let length = name.len() as u64;
        let work = async move { work(length, 0).await };
        Reducer::global().reduce_by_ref(name, work).await
    }
    let each = move |call: fn(u64)| move || (0..calls).for_each(call);
    Contest::new(title)
        .calls(calls)
        .with("`reduce_with(u64, ..)`", each(|key| drop(black_box(drive(of_number_by_hand(key))))))
        .with("`#[reduceable]` `(key: u64)`", each(|key| drop(black_box(drive(of_number(key))))))
        .with(
            "`#[reduceable(key = key)]` `(key: u64, page: &str, trace: u64)`",
            each(|key| drop(black_box(drive(of_many(key, "page", key))))),
        )
        .with("`reduce(u64, ..)`, the work boxed", move || {
            (0..calls)
                .for_each(|key| drop(black_box(drive(boxed.reduce(key, Box::pin(work(key, 0)))))));
        })
        .with("`reduce_by_ref(&str, ..)`", move || {
            for name in &*names {
                black_box(drive(of_name_by_hand(name)));
            }
        })
        .with("`#[reduceable]` `(name: &str)`", move || {
            for name in &*same {
                black_box(drive(of_name(name)));
            }
        })
}

/// A flight lands with so many followers: how long that takes, and how long at most somebody else who asks for its
/// callers or joins has to wait meanwhile. In microseconds, medians.
pub(crate) fn landing(followers: usize, rounds: usize) -> [f64; 3] {
    struct Task(AtomicUsize);
    impl Wake for Task {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Relaxed);
        }
    }
    let mut takes = [Vec::new(), Vec::new(), Vec::new()];
    for _ in 0..rounds {
        let reducer = Reducer::new();
        let happened = Events::default();
        let call = || {
            let happened = happened.clone();
            Box::pin(reducer.reduce_with(7u64, move || Plan::events(&happened, 1).work(7)))
        };
        let mut calls: Vec<_> = (0..followers)
            .map(|_| (call(), Waker::from(Arc::new(Task(AtomicUsize::new(0))))))
            .collect();
        for (call, waker) in &mut calls {
            assert!(call.as_mut().poll(&mut Context::from_waker(waker)).is_pending());
        }
        let (ready, go) = (Barrier::new(2), AtomicUsize::new(0));
        let (landed, longest) = thread::scope(|scope| {
            let other = scope.spawn(|| {
                let mut longest = [0.0f64; 2];
                ready.wait();
                while go.load(Relaxed) < 2 {
                    let start = Instant::now();
                    black_box(reducer.callers(&7u64));
                    let asked = start.elapsed();
                    if go.load(Relaxed) == 1 {
                        let join = Instant::now();
                        let mut joins = call();
                        black_box(
                            joins.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_ready(),
                        );
                        drop(joins);
                        longest[0] = longest[0].max(asked.as_secs_f64() * 1e6);
                        longest[1] = longest[1].max(join.elapsed().as_secs_f64() * 1e6);
                    }
                }
                longest
            });
            ready.wait();
            go.store(1, Relaxed);
            let start = Instant::now();
            // Wakes all callers, of whom the first that is polled lands the flight: this one, or the other thread's.
            happened.happen();
            let (first, waker) = &mut calls[0];
            while first.as_mut().poll(&mut Context::from_waker(waker)).is_pending() {
                std::hint::spin_loop();
            }
            let landed = start.elapsed().as_secs_f64() * 1e6;
            go.store(2, Relaxed);
            (landed, other.join().expect("it only asks"))
        });
        for (all, one) in takes.iter_mut().zip([landed, longest[0], longest[1]]) {
            all.push(one);
        }
    }
    takes.map(|takes| {
        let takes = sorted(takes.into_iter());
        takes[takes.len() / 2]
    })
}
