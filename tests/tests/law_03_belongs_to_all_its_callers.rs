//! Law 3. Dropping any caller, the leader first of all, neither fails nor restarts nor delays the flight
//! for the rest: the work that was started goes on from where it is.

use reducer_core::{Reducer, Role};
use reducer_tests::{ByHand, Count, DropCounts, Gate, never_runs};

#[test]
fn a_follower_goes_on_with_the_work_of_a_dropped_leader() {
    let reducer = Reducer::new();
    let (first, second) = (Gate::new(), Gate::new());
    let (steps, dropped) = (Count::new(), Count::new());
    let work = {
        let (first, second, steps) = (first.clone(), second.clone(), steps.clone());
        let guard = DropCounts(dropped.clone());
        async move {
            let _guard = guard;
            first.pass().await;
            steps.add();
            second.pass().await;
            steps.add()
        }
    };
    let mut leader = ByHand::new(reducer.try_reduce(1, work));
    let mut follower = ByHand::new(reducer.try_reduce(1, never_runs::<usize>()));
    leader.pending();
    follower.pending();
    first.open();
    leader.pending();
    drop(leader);
    assert_eq!((steps.get(), dropped.get()), (1, 0), "half-way, and still there");

    second.open();
    assert!(follower.is_woken());
    let done = follower.ready().unwrap();
    assert_eq!((done.value, done.role, dropped.get()), (1, Role::Joined, 1));
}

#[test]
fn any_survivor_will_do() {
    let reducer = Reducer::new();
    for survivor in 0..5 {
        let gate = Gate::new();
        let mut tasks: Vec<_> =
            (0..5).map(|_| Some(ByHand::new(reducer.reduce(1, gate.pass())))).collect();
        tasks.iter_mut().flatten().for_each(|task| {
            task.pending();
        });
        for (at, task) in tasks.iter_mut().enumerate() {
            if at != survivor {
                *task = None;
            }
        }
        gate.open();
        let mut last = tasks[survivor].take().unwrap();
        assert!(last.is_woken());
        last.ready();
    }
}

#[test]
fn a_follower_that_leaves_is_not_missed() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut leader = ByHand::new(reducer.reduce(1, gate.pass()));
    leader.pending();
    for _ in 0..100 {
        let mut follower = ByHand::new(reducer.reduce(1, never_runs::<()>()));
        follower.pending();
    }
    gate.open();
    assert!(leader.is_woken());
    leader.ready();
}

#[test]
fn whoever_was_woken_to_drive_and_is_dropped_instead_takes_no_wake_up_along() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut tasks: Vec<_> = (0..3).map(|_| ByHand::new(reducer.reduce(1, gate.pass()))).collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    gate.open();
    while tasks.len() > 1 {
        assert!(tasks[0].is_woken());
        tasks.remove(0);
    }
    tasks[0].ready();
}

#[test]
fn a_caller_that_moves_to_another_task_is_woken_there() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut call = Box::pin(reducer.reduce(1, gate.pass()));
    let mut first_home = ByHand::new(std::future::poll_fn(|cx| {
        assert!(call.as_mut().poll(cx).is_pending());
        std::task::Poll::Ready(())
    }));
    first_home.ready();
    drop(first_home);
    let mut second_home = ByHand::new(call);
    second_home.pending();
    gate.open();
    assert!(second_home.is_woken());
    second_home.ready();
}

/// The lost wake-up of futures' `Shared`: the event comes during one caller's poll, another registers
/// meanwhile, and the first is dropped.
#[test]
fn a_wake_up_during_a_poll_reaches_those_who_came_meanwhile() {
    use std::sync::mpsc;
    use std::task::Poll;

    let reducer = Reducer::new();
    let (in_poll, polled) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let mut first_poll = true;
    let mut done = false;
    let work = std::future::poll_fn(move |cx| {
        if done {
            return Poll::Ready(7);
        }
        if std::mem::take(&mut first_poll) {
            in_poll.send(()).unwrap();
            may_go_on.recv().unwrap();
            cx.waker().wake_by_ref(); // the event, while the poll goes on
            done = true;
        }
        Poll::Pending
    });
    std::thread::scope(|threads| {
        let leader = threads.spawn(|| {
            let mut leader = ByHand::new(reducer.reduce(1, work));
            leader.pending();
            drop(leader);
        });
        polled.recv().unwrap();
        let mut follower = ByHand::new(reducer.reduce(1, never_runs::<i32>()));
        follower.pending();
        go_on.send(()).unwrap();
        leader.join().unwrap();
        assert!(follower.is_woken());
        assert_eq!(follower.ready(), 7);
    });
}
