//! A leader that is alone waits in no line, and says where it is at home before it goes: whoever comes later finds both.

use std::future::poll_fn;
use std::mem;
use std::sync::{Mutex, mpsc};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use reducer_core::Reducer;
use reducer_tests::{ByHand, Gate, never_runs};
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// Needs a reactor.
async fn a_moment() {
    sleep(Duration::from_millis(1)).await;
}

/// In no runtime, drives the flight that somebody else leads, when `gate` opens. The work must find a reactor all the same.
#[track_caller]
fn a_thread_outside_drives(reducer: &Reducer, gate: &Gate) {
    let mut call = ByHand::new(reducer.reduce(1, never_runs::<()>()));
    call.pending();
    gate.open();
    assert!(call.is_woken());
    call.pending();
}

#[test]
fn a_home_that_is_found_late_is_known_to_threads_outside() {
    let runtime = runtime();
    let (first, second, reducer) = (Gate::new(), Gate::new(), Reducer::new());
    let (one, two) = (first.pass(), second.pass());
    let mut leader = ByHand::new(reducer.reduce(1, async move {
        one.await;
        two.await;
        a_moment().await;
    }));
    leader.pending(); // in no runtime
    first.open();
    let entered = runtime.enter();
    leader.pending();
    drop(entered);
    a_thread_outside_drives(&reducer, &second);
}

#[test]
fn a_second_home_is_known_to_threads_outside() {
    let (a, b) = (runtime(), runtime());
    let (steps, gate, reducer) = (Gate::new(), Gate::new(), Reducer::new());
    let (each, last) = (steps.clone(), gate.pass());
    let mut leader = ByHand::new(reducer.reduce(1, async move {
        for _ in 0..3 {
            each.pass().await;
        }
        last.await;
        a_moment().await;
    }));
    let entered = a.enter();
    leader.pending();
    let mut crowd: Vec<_> =
        (0..40).map(|_| ByHand::new(reducer.reduce(1, never_runs::<()>()))).collect();
    crowd.iter_mut().for_each(|call| {
        call.pending();
    });
    // So many get a task, which dies with its runtime; and then they are gone, too.
    steps.open();
    drop(entered);
    drop((a, crowd));
    let entered = b.enter();
    for _ in 0..3 {
        leader.pending();
        steps.open();
    }
    leader.pending();
    drop(entered);
    a_thread_outside_drives(&reducer, &gate);
}

#[test]
fn who_joins_a_leader_that_woke_itself_says_where_it_is() {
    let runtime = runtime();
    let reducer = Reducer::new();
    let mut is_first = true;
    let mut leader = ByHand::new(reducer.reduce(1, async move {
        poll_fn(|cx| {
            if mem::take(&mut is_first) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        a_moment().await;
    }));
    let mut native = ByHand::new(reducer.reduce(1, never_runs::<()>()));
    let mut outsider = ByHand::new(reducer.reduce(1, never_runs::<()>()));
    let entered = runtime.enter();
    leader.pending();
    native.pending();
    drop(entered);
    outsider.pending().pending();
}

#[test]
fn a_crowd_that_came_during_the_first_poll_is_not_woken_for_each_step() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let (gate, reducer) = (Gate::new(), Reducer::new());
    let waits = gate.clone();
    let ((go, wait), (started, starts)) = (mpsc::channel::<()>(), mpsc::channel::<()>());
    let wait = Mutex::new(wait);
    let mut leader = ByHand::new(reducer.reduce(1, async move {
        started.send(()).unwrap();
        wait.lock().unwrap().recv().unwrap();
        waits.pass().await;
        waits.pass().await;
    }));
    let mut crowd: Vec<_> =
        (0..1000).map(|_| ByHand::new(reducer.reduce(1, never_runs::<()>()))).collect();
    thread::scope(|threads| {
        threads.spawn(|| {
            let _entered = runtime.enter();
            leader.pending();
        });
        starts.recv().unwrap();
        crowd.iter_mut().for_each(|call| {
            call.pending();
        });
        go.send(()).unwrap();
    });
    gate.open();
    assert!(!crowd.iter().any(ByHand::is_woken), "the flight's task serves them");
}

#[test]
fn a_leader_that_was_away_twice_is_served_by_the_flights_task() {
    let runtime = runtime();
    let _entered = runtime.enter();
    let (gate, reducer) = (Gate::new(), Reducer::new());
    let waits = gate.clone();
    let mut leader = ByHand::new(reducer.reduce(1, async move {
        for _ in 0..3 {
            waits.pass().await;
        }
    }));
    leader.pending();
    gate.open();
    leader.pending();
    let mut crowd: Vec<_> =
        (0..100).map(|_| ByHand::new(reducer.reduce(1, never_runs::<()>()))).collect();
    crowd.iter_mut().for_each(|call| {
        call.pending();
    });
    gate.open();
    assert!(!leader.is_woken() && !crowd.iter().any(ByHand::is_woken));
}
