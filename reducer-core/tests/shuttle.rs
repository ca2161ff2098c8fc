//! Programs that are too large for all their interleavings, in as many as there is time for, by shuttle.
//!
//! ```sh
//! RUSTFLAGS="--cfg loom --cfg shuttle" cargo test -p reducer-core --no-default-features --test shuttle --release
//! ```
//! `REDUCER_SCHEDULES=1000000` for more of each, `REDUCER_SEED=17` for the ones that failed.
#![cfg(all(loom, shuttle))]

use std::cell::Cell;
use std::convert::Infallible;
use std::env;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll, Waker};

use reducer_core::Reducer;
use reducer_core::batch::AggregateError;
use reducer_core::batch::door::Batch;
use reducer_core::meter::Meter;
use shuttle::future::block_on;
use shuttle::scheduler::{PctScheduler, RandomScheduler, Scheduler};
use shuttle::sync::Mutex;
use shuttle::{Config, Runner, thread};

/// Schedules of one program, which has a seed.
const EACH: usize = 50;

/// Runs programs under schedules, alternately any and those with few, but nasty, changes of thread (PCT).
fn schedules(program: impl Fn(u64) + Copy + Send + Sync + 'static) {
    let setting = |name| env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    let total = setting("REDUCER_SCHEDULES").unwrap_or(20_000);
    let seeds = match setting("REDUCER_SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..total.div_ceil(EACH as u64),
    };
    for seed in seeds {
        let scheduler: Box<dyn Scheduler + Send> = match seed % 2 {
            0 => Box::new(RandomScheduler::new_from_seed(seed, EACH)),
            _ => Box::new(PctScheduler::new_from_seed(seed, 3, EACH)),
        };
        let run = || Runner::new(scheduler, Config::new()).run(move || program(seed));
        if let Err(payload) = catch_unwind(AssertUnwindSafe(run)) {
            eprintln!("failed: REDUCER_SEED={seed}");
            resume_unwind(payload);
        }
    }
}

/// splitmix64.
struct Dice(Cell<u64>);

impl Dice {
    fn new(seed: u64, thread: usize) -> Self {
        Self(Cell::new(seed.wrapping_mul(1_000).wrapping_add(thread as u64)))
    }

    fn below(&self, n: usize) -> usize {
        let state = self.0.get().wrapping_add(0x9e37_79b9_7f4a_7c15);
        self.0.set(state);
        let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) % n as u64) as usize
    }
}

/// Counts what runs at the same time, and catches what is too much.
#[derive(Clone)]
struct Running(Arc<AtomicUsize>);

impl Running {
    fn none() -> Self {
        Self(Arc::default())
    }

    fn begin(&self, limit: usize) -> Self {
        let others = self.0.fetch_add(1, SeqCst);
        assert!(others < limit, "{others} run, and one more");
        self.clone()
    }

    fn end(self) {
        thread::yield_now();
        self.0.fetch_sub(1, SeqCst);
    }
}

/// As many threads as there are acts.
fn together(acts: impl IntoIterator<Item = impl FnOnce() + Send + 'static>) {
    let threads: Vec<_> = acts.into_iter().map(thread::spawn).collect();
    for thread in threads {
        thread.join().unwrap();
    }
}

/// The canary: look and take in two steps. If this is not caught, nothing is.
#[test]
#[should_panic(expected = "1 run, and one more")]
fn canary_a_planted_race_is_caught() {
    schedules(|_| {
        let (running, taken) = (Running::none(), Arc::new(Mutex::new(false)));
        together((0..4).map(|_| {
            let (running, taken) = (running.clone(), Arc::clone(&taken));
            move || {
                let is_free = !*taken.lock().unwrap();
                if is_free {
                    *taken.lock().unwrap() = true;
                    running.begin(1).end();
                    *taken.lock().unwrap() = false;
                }
            }
        }));
    });
}

/// Ready when another thread has said so.
#[derive(Default)]
struct Nap(Option<Arc<Mutex<(bool, Option<Waker>)>>>);

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let event = self.0.get_or_insert_with(|| {
            let event = Arc::new(Mutex::new((false, None::<Waker>)));
            let happens = Arc::clone(&event);
            thread::spawn(move || {
                let waker = {
                    let mut event = happens.lock().unwrap();
                    event.0 = true;
                    event.1.take()
                };
                if let Some(waker) = waker {
                    waker.wake();
                }
            });
            event
        });
        let waker = cx.waker().clone();
        let (has_happened, old) = {
            let mut event = event.lock().unwrap();
            (event.0, event.1.replace(waker))
        };
        drop(old);
        if has_happened { Poll::Ready(()) } else { Poll::Pending }
    }
}

struct Ends(Option<Running>);

impl Drop for Ends {
    fn drop(&mut self) {
        self.0.take().expect("dropped once").end();
    }
}

const KEYS: usize = 3;

/// Four threads call, hold, leave, park and forget.
#[test]
fn flights_of_a_key_are_one_at_a_time_and_nobody_sleeps_for_ever() {
    schedules(|seed| {
        let reducer = Reducer::new();
        // Works may overlap once a `forget` parts them.
        let limit = if seed & 2 == 0 { 1 } else { usize::MAX };
        let running: [Running; KEYS] = std::array::from_fn(|_| Running::none());
        together((0..4).map(|thread| {
            let (reducer, running, dice) =
                (reducer.clone(), running.clone(), Dice::new(seed, thread));
            move || {
                let work = |key: usize, naps: usize| {
                    let running = running[key].clone();
                    async move {
                        let _ends = Ends(Some(running.begin(limit)));
                        for _ in 0..naps {
                            Nap::default().await;
                        }
                        key
                    }
                };
                let mut held = None;
                for _ in 0..3 {
                    let key = dice.below(KEYS);
                    match dice.below(6) {
                        0 | 1 => {
                            let mut call = Box::pin(reducer.reduce(key, work(key, dice.below(3))));
                            let polled =
                                call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                            match polled {
                                Poll::Ready(value) => assert_eq!(value, key),
                                Poll::Pending => held = Some((key, call)),
                            }
                        }
                        2 => {
                            assert_eq!(block_on(reducer.reduce(key, work(key, dice.below(2)))), key)
                        }
                        3 => {
                            let value = reducer.reduce_blocking(key, || {
                                running[key].begin(limit).end();
                                key
                            });
                            assert_eq!(value, key);
                        }
                        4 if limit > 1 => drop(reducer.forget(&key)),
                        _ => held = None,
                    }
                }
                if let Some((key, call)) = held {
                    assert_eq!(block_on(call), key);
                }
            }
        }));
        assert_eq!(reducer.in_flight(), 0);
        assert!(running.iter().all(|running| running.0.load(SeqCst) == 0), "a work is left");
    });
}

/// A seat in a batch, as a future.
struct Seat(Batch, usize);

impl Future for Seat {
    type Output = Result<u64, AggregateError<Infallible>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(self.1, cx)
    }
}

/// Four callers, of whom some leave; the task answers one by one, deals, or is dropped in the middle.
#[test]
fn everybody_in_a_batch_has_its_own_answer_or_the_end() {
    schedules(|seed| {
        let batch = Batch::new();
        let dice = Dice::new(seed, 0);
        let ending = dice.below(3);
        let seats: Vec<_> =
            (0..4).map(|arg| (arg, batch.board(arg, Waker::noop().clone()))).collect();
        let callers: Vec<_> = seats
            .iter()
            .map(|&(arg, seat)| {
                let (batch, leaves) = (batch.clone(), dice.below(3) == 0);
                thread::spawn(move || {
                    let mut caller = Seat(batch.clone(), seat);
                    if leaves {
                        let polled =
                            Pin::new(&mut caller).poll(&mut Context::from_waker(Waker::noop()));
                        if polled.is_pending() {
                            batch.leave(seat);
                            return;
                        }
                        let Poll::Ready(answer) = polled else { return };
                        assert!(answer.is_err() || answer.is_ok_and(|answer| answer == arg * 10));
                        return;
                    }
                    match block_on(caller) {
                        Ok(answer) => assert_eq!(answer, arg * 10, "a neighbour's answer"),
                        Err(error) => assert!(ending == 2, "{error}"),
                    }
                })
            })
            .collect();
        let args = batch.depart();
        assert!(args.is_sorted(), "out of order");
        if ending == 0 {
            batch.deal(args.into_iter().map(|arg| arg * 10).collect());
        } else {
            let answered = if ending == 1 { args.len() } else { args.len() / 2 };
            let slots = {
                let (batch, args) = (batch.clone(), args[..answered].to_vec());
                thread::spawn(move || {
                    for arg in args {
                        batch.answer(arg as usize, arg * 10);
                    }
                })
            };
            if ending == 1 {
                slots.join().unwrap();
            }
            batch.close();
        }
        for caller in callers {
            caller.join().unwrap();
        }
    });
}

/// Up to four threads take places, wait for them, go away, and change how many there are.
#[test]
fn places_of_a_meter_are_never_too_many_and_never_lost() {
    schedules(|seed| {
        const MOST: usize = 2;
        // Few of them, or nobody is the last to wait: whoever comes later would wake it.
        let size = Dice::new(seed, 4);
        let (threads, acts) = (2 + size.below(3), 1 + size.below(3));
        let meter = Meter::new().max_at_once(1 + size.below(MOST));
        let running = Running::none();
        together((0..threads).map(|thread| {
            let (meter, running, dice) = (meter.clone(), running.clone(), Dice::new(seed, thread));
            move || {
                for _ in 0..acts {
                    match dice.below(6) {
                        0 => {
                            let meter = meter.clone();
                            let mut call = Box::pin(async move { meter.acquire().await });
                            let _ = call.as_mut().poll(&mut Context::from_waker(Waker::noop()));
                            thread::yield_now();
                        }
                        1 => meter.set_max_at_once(1 + dice.below(MOST)),
                        2 => {
                            if let Some(_place) = meter.try_acquire() {
                                running.begin(MOST).end();
                            }
                        }
                        _ => {
                            let _place = block_on(meter.acquire());
                            running.begin(MOST).end();
                        }
                    }
                }
            }
        }));
        meter.set_max_at_once(MOST);
        let stats = meter.stats();
        assert_eq!((stats.running, stats.waiting), (0, 0));
        let places: Vec<_> =
            (0..MOST).map(|_| meter.try_acquire().expect("a free place")).collect();
        assert!(meter.try_acquire().is_none());
        drop(places);
    });
}
