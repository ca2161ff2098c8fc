//! Threads share as tasks do, and with tasks.

use std::sync::{Barrier, mpsc};

use reducer_core::{ReduceError, Reducer, Role};
use reducer_tests::{ByHand, Count, Gate, never_runs, panics};

/// concurrent-coalesce's own test: so many threads at once, and the same again when they are done.
fn simultaneous_threads_run_once(threads: usize) {
    let reducer = Reducer::new();
    let runs = Count::new();
    for round in 1..=2 {
        let call = || {
            reducer.reduce_blocking("key", || {
                runs.add();
                while reducer.callers(&"key") < threads {
                    std::thread::yield_now();
                }
                round
            })
        };
        let outcomes: Vec<_> = std::thread::scope(|scope| {
            let callers: Vec<_> = (0..threads).map(|_| scope.spawn(call)).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert_eq!(outcomes, vec![round; threads]);
        assert_eq!((runs.get(), reducer.in_flight()), (round, 0));
    }
}

#[test]
fn one_thread_runs_once() {
    simultaneous_threads_run_once(1);
}

#[test]
fn ten_threads_run_once() {
    simultaneous_threads_run_once(10);
}

#[test]
fn fifty_threads_run_once() {
    simultaneous_threads_run_once(50);
}

#[test]
fn different_arguments_run_side_by_side() {
    let reducer = Reducer::new();
    let all_run = Barrier::new(4);
    let outcomes: Vec<_> = std::thread::scope(|threads| {
        let callers: Vec<_> = (0..4)
            .map(|n| {
                let (reducer, all_run) = (&reducer, &all_run);
                threads.spawn(move || {
                    reducer.reduce_blocking(n, || {
                        all_run.wait();
                        n * n
                    })
                })
            })
            .collect();
        callers.into_iter().map(|caller| caller.join().unwrap()).collect()
    });
    assert_eq!(outcomes, [0, 1, 4, 9]);
}

#[test]
fn a_panic_is_the_leaders_too_and_frees_the_key() {
    let reducer = Reducer::new();
    let (led, leading) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    std::thread::scope(|threads| {
        let leader = threads.spawn(|| {
            panics(|| {
                reducer.reduce_blocking(1, move || -> u8 {
                    led.send(()).unwrap();
                    may_go.recv().unwrap();
                    panic!("no disk")
                })
            })
        });
        leading.recv().unwrap();
        go.send(()).unwrap();
        assert_eq!(leader.join().unwrap(), "no disk");
    });
    assert_eq!(reducer.in_flight(), 0);
    assert_eq!(reducer.reduce_blocking(1, || 7), 7);
}

#[test]
fn a_task_follows_a_thread() {
    let reducer = Reducer::new();
    let (led, leading) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    std::thread::scope(|threads| {
        let leader = threads.spawn(|| {
            reducer.try_reduce_blocking(1, move || {
                led.send(()).unwrap();
                may_go.recv().unwrap();
                "from a thread"
            })
        });
        leading.recv().unwrap();
        let mut task = ByHand::new(reducer.try_reduce(1, never_runs::<&str>()));
        task.pending();
        go.send(()).unwrap();
        assert_eq!(leader.join().unwrap().unwrap().role, Role::Led);
        assert!(task.is_woken());
        let done = task.ready().unwrap();
        assert_eq!((done.value, done.role), ("from a thread", Role::Joined));
    });
}

#[test]
fn a_task_gets_the_panic_of_a_thread() {
    let reducer = Reducer::new();
    let (led, leading) = mpsc::channel();
    let (go, may_go) = mpsc::channel::<()>();
    std::thread::scope(|threads| {
        let leader = threads.spawn(|| {
            reducer.try_reduce_blocking(1, move || -> u8 {
                led.send(()).unwrap();
                may_go.recv().unwrap();
                panic!("no disk")
            })
        });
        leading.recv().unwrap();
        let mut task = ByHand::new(reducer.try_reduce(1, never_runs::<u8>()));
        task.pending();
        go.send(()).unwrap();
        for outcome in [leader.join().unwrap(), task_outcome(&mut task)] {
            let Err(ReduceError::Panicked(panicked)) = outcome else { panic!("{outcome:?}") };
            assert_eq!(panicked.message(), "no disk");
        }
    });
}

fn task_outcome<F: Future>(task: &mut ByHand<F>) -> F::Output {
    assert!(task.is_woken());
    task.ready()
}

#[test]
fn a_thread_that_follows_a_task_drives_its_work() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut held = ByHand::new(reducer.reduce_with(1, || {
        let gate = gate.clone();
        async move {
            for _ in 0..10 {
                gate.pass().await;
            }
            "from a task"
        }
    }));
    held.pending();
    // The leader is never polled again: all steps are the thread's.
    (0..10).for_each(|_| gate.open());
    let value = reducer.reduce_blocking(1, || -> &str { panic!("it follows") });
    assert_eq!(value, "from a task");
    assert_eq!(held.ready(), "from a task");
}

#[test]
fn a_blocking_call_inside_the_work_may_wait_for_another_key() {
    let reducer = Reducer::new();
    let value = reducer.reduce_blocking(1, || reducer.reduce_blocking(2, || 20) + 1);
    assert_eq!(value, 21);
}

#[test]
fn wrapped_functions_share_per_argument() {
    let runs = Count::new();
    let square = Reducer::new().wrap_blocking({
        let runs = runs.clone();
        move |n: u64| {
            runs.add();
            n * n
        }
    });
    assert_eq!((square(3), square(4), runs.get()), (9, 16, 2));
}

/// User code in the work may park the thread too, and eat the token that was meant for us.
#[test]
fn a_nested_park_loses_no_wake_up() {
    let reducer = Reducer::new();
    let inner_gate = Gate::new();
    let gate = Gate::new();
    let mut lead = ByHand::new(reducer.reduce_with(1, || {
        let (gate, inner_gate, inner) = (gate.clone(), inner_gate.clone(), reducer.clone());
        async move {
            gate.pass().await;
            // Blocks in the middle of a poll.
            inner.reduce_blocking(2, || pollster::block_on(inner_gate.pass()));
            gate.pass().await;
            "done"
        }
    }));
    lead.pending();
    std::thread::scope(|threads| {
        let follower = threads.spawn(|| reducer.reduce_blocking(1, || ""));
        gate.open();
        gate.open();
        inner_gate.open();
        assert_eq!(follower.join().unwrap(), "done");
    });
}
