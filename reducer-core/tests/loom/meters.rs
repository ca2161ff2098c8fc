//! The gate of a meter: its places, with and without the lock. There is no rate, for there is no clock.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize as Watched, Ordering};
use loom::thread;
use reducer_core::meter::Meter;

use crate::{model, poll_once};

/// Jobs that run at the same time, and how many may.
#[derive(Clone)]
struct Jobs(Arc<AtomicUsize>, usize);

impl Jobs {
    fn up_to(limit: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(0)), limit)
    }

    fn run(&self) {
        let others = self.0.fetch_add(1, SeqCst);
        assert!(others < self.1, "{others} run, and one more");
        thread::yield_now();
        self.0.fetch_sub(1, SeqCst);
    }
}

/// All places are free, and can be had.
fn assert_idle(meter: &Meter, limit: usize) {
    let stats = meter.stats();
    assert_eq!((stats.running, stats.waiting, stats.failed), (0, 0, 0));
    let places: Vec<_> = (0..limit).map(|_| meter.try_acquire().expect("a free place")).collect();
    assert!(meter.try_acquire().is_none());
    drop(places);
}

/// A place is looked for and taken in two steps.
#[test]
#[should_panic(expected = "1 run, and one more")]
fn canary_a_planted_race_is_caught() {
    model(3, || {
        let held = Arc::new(Watched::new(0));
        let jobs = Jobs::up_to(1);
        let call = move || {
            let before = held.load(Ordering::Acquire);
            if before < 1 {
                held.store(before + 1, Ordering::Release);
                jobs.run();
                held.fetch_sub(1, Ordering::AcqRel);
            }
        };
        let other = thread::spawn(call.clone());
        call();
        other.join().unwrap();
    });
}

#[test]
fn two_that_race_for_the_last_place_both_have_it_one_after_the_other() {
    model(3, || {
        let meter = Meter::new().max_at_once(1);
        let jobs = Jobs::up_to(1);
        let call = {
            let meter = meter.clone();
            move || {
                let place = block_on(meter.acquire());
                jobs.run();
                drop(place);
            }
        };
        let other = thread::spawn(call.clone());
        call();
        other.join().unwrap();
        assert_idle(&meter, 1);
    });
}

#[test]
fn a_place_that_is_given_back_is_not_slept_through() {
    model(3, || {
        let meter = Meter::new().max_at_once(2);
        let places = [meter.try_acquire(), meter.try_acquire()];
        let waiter = {
            let meter = meter.clone();
            thread::spawn(move || drop(block_on(meter.acquire())))
        };
        let passer_by = {
            let meter = meter.clone();
            thread::spawn(move || drop(meter.try_acquire()))
        };
        drop(places);
        waiter.join().unwrap();
        passer_by.join().unwrap();
        assert_idle(&meter, 2);
    });
}

/// One waits in front, and goes away at the moment at which its turn comes.
#[test]
fn a_waiter_that_goes_as_it_is_called_passes_its_place_on() {
    model(3, || {
        let meter = Meter::new().max_at_once(1);
        let place = meter.try_acquire();
        let mut leaver = Box::pin({
            let meter = meter.clone();
            async move { meter.acquire().await }
        });
        assert!(poll_once(leaver.as_mut()).is_pending());
        let next = {
            let meter = meter.clone();
            thread::spawn(move || drop(block_on(meter.acquire())))
        };
        let leaves = thread::spawn(move || drop(leaver));
        drop(place);
        next.join().unwrap();
        leaves.join().unwrap();
        assert_idle(&meter, 1);
    });
}

#[test]
fn a_lower_limit_is_kept_by_whoever_comes_after_it() {
    model(3, || {
        let meter = Meter::new().max_at_once(2);
        let other = {
            let meter = meter.clone();
            thread::spawn(move || drop(block_on(meter.acquire())))
        };
        meter.set_max_at_once(1);
        let place = block_on(meter.acquire());
        assert!(meter.try_acquire().is_none());
        drop(place);
        other.join().unwrap();
        assert_idle(&meter, 1);
    });
}

#[test]
fn a_higher_limit_lets_in_whoever_waits() {
    model(3, || {
        let meter = Meter::new().max_at_once(1);
        let place = meter.try_acquire();
        let other = {
            let meter = meter.clone();
            thread::spawn(move || drop(block_on(meter.acquire())))
        };
        meter.set_max_at_once(2);
        other.join().unwrap();
        drop(place);
        assert_idle(&meter, 2);
    });
}

#[test]
fn three_jobs_never_run_in_two_places() {
    model(2, || {
        let meter = Meter::new().max_at_once(2);
        let jobs = Jobs::up_to(2);
        let call = {
            let meter = meter.clone();
            move || {
                let place = block_on(meter.acquire());
                jobs.run();
                drop(place);
            }
        };
        let others = [thread::spawn(call.clone()), thread::spawn(call.clone())];
        call();
        for other in others {
            other.join().unwrap();
        }
        assert_idle(&meter, 2);
    });
}
