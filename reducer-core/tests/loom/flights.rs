//! Flights and the registry.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use loom::future::{AtomicWaker, block_on};
// loom's, or it does not see what orders the end of an event after its last use.
use loom::sync::Arc;
use loom::sync::atomic::{AtomicBool, Ordering};
use loom::thread;
use reducer_core::{ReduceError, Reducer, Role};

use crate::{Runs, model, poll_once};

/// Ready when it is told, by loom's own waker cell.
#[derive(Clone)]
struct Event(Arc<(AtomicBool, AtomicWaker)>);

impl Event {
    fn new() -> Self {
        Self(Arc::new((AtomicBool::new(false), AtomicWaker::new())))
    }

    fn happen(&self) {
        self.0.0.store(true, Ordering::Release);
        self.0.1.wake();
    }
}

impl Future for Event {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.1.register_by_ref(cx.waker());
        if self.0.0.load(Ordering::Acquire) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// Suspends once, having woken itself.
#[derive(Default)]
struct YieldOnce(bool);

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if std::mem::replace(&mut self.0, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

fn seven_after(event: &Event) -> impl Future<Output = usize> + Send + use<> {
    let event = event.clone();
    async move {
        event.await;
        7
    }
}

fn work(runs: &Runs) -> impl Future<Output = usize> + Send + 'static {
    let runs = runs.clone();
    async move {
        let _running = runs.begin();
        YieldOnce::default().await;
        7
    }
}

/// The canary: look and insert without a lock in between. If the models can't catch this they catch nothing.
#[test]
#[should_panic(expected = "two leaders at once")]
fn canary_a_planted_race_is_caught() {
    model(3, || {
        let in_flight = Arc::new(AtomicBool::new(false));
        let runs = Runs::default();
        let call = move || {
            if !in_flight.load(Ordering::Acquire) {
                in_flight.store(true, Ordering::Release);
                let running = runs.begin();
                thread::yield_now();
                drop(running);
            }
        };
        let other = thread::spawn(call.clone());
        call();
        other.join().unwrap();
    });
}

#[test]
fn two_callers_never_run_at_once_and_both_have_the_value() {
    model(3, || {
        let reducer = Reducer::new();
        let runs = Runs::default();
        let call = {
            let (reducer, runs) = (reducer.clone(), runs.clone());
            move || assert_eq!(block_on(reducer.reduce(1, work(&runs))), 7)
        };
        let other = thread::spawn(call.clone());
        call();
        other.join().unwrap();
        assert!((1..=2).contains(&runs.total()));
        assert_eq!(reducer.in_flight(), 0);
    });
}

/// Of two callers the follower was in the only flight that there ever was.
#[test]
fn whoever_sees_the_outcome_finds_the_key_free() {
    model(3, || {
        let reducer = Reducer::new();
        let call = {
            let (reducer, runs) = (reducer.clone(), Runs::default());
            move || {
                let done = block_on(reducer.try_reduce(1, work(&runs))).unwrap();
                if done.role == Role::Joined {
                    assert_eq!(reducer.in_flight(), 0);
                }
            }
        };
        let other = thread::spawn(call.clone());
        call();
        other.join().unwrap();
    });
}

#[test]
fn three_callers_never_run_at_once() {
    model(1, || {
        let reducer = Reducer::new();
        let runs = Runs::default();
        let call = {
            let (reducer, runs) = (reducer.clone(), runs.clone());
            move || assert_eq!(block_on(reducer.reduce(1, work(&runs))), 7)
        };
        let others = [thread::spawn(call.clone()), thread::spawn(call.clone())];
        call();
        for other in others {
            other.join().unwrap();
        }
        assert_eq!(reducer.in_flight(), 0);
    });
}

/// The leader is dropped after one poll, while the event comes from a second thread and a third follows.
#[test]
fn a_follower_lands_the_flight_of_a_dropped_leader() {
    model(2, || {
        let reducer = Reducer::new();
        let event = Event::new();
        let mut leader = Box::pin(reducer.reduce(1, seven_after(&event)));
        assert!(poll_once(leader.as_mut()).is_pending());
        let follower = {
            let (reducer, again) = (reducer.clone(), event.clone());
            thread::spawn(move || {
                block_on(reducer.reduce(1, async move {
                    again.await;
                    7
                }))
            })
        };
        let happens = thread::spawn(move || event.happen());
        drop(leader);
        assert_eq!(follower.join().unwrap(), 7);
        happens.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
    });
}

/// A leader that is alone is in no line. While somebody is just calling it, it comes by itself.
#[test]
fn a_lone_leader_that_is_called_or_comes_by_itself_lands() {
    for polls in 1..=2 {
        model(4, move || {
            let reducer = Reducer::new();
            let event = Event::new();
            let mut leader = Box::pin(reducer.reduce(1, seven_after(&event)));
            let happens = thread::spawn(move || event.happen());
            let mut landed = false;
            for _ in 0..polls {
                landed = landed || poll_once(leader.as_mut()).is_ready();
            }
            if !landed {
                assert_eq!(block_on(leader), 7);
            }
            happens.join().unwrap();
            assert_eq!(reducer.in_flight(), 0);
        });
    }
}

/// It goes for good while it is called.
#[test]
fn a_lone_leader_that_goes_as_it_is_called_leaves_nothing() {
    model(4, || {
        let reducer = Reducer::new();
        let event = Event::new();
        let mut leader = Box::pin(reducer.reduce(1, seven_after(&event)));
        assert!(poll_once(leader.as_mut()).is_pending());
        let happens = thread::spawn(move || event.happen());
        drop(leader);
        happens.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
    });
}

/// Somebody joins while it is called, and the leader is not polled any more: the one who joined must land.
#[test]
fn who_joins_a_lone_leader_as_it_is_called_is_not_left_alone() {
    model(3, || {
        let reducer = Reducer::new();
        let event = Event::new();
        let mut held = Box::pin(reducer.reduce(1, seven_after(&event)));
        assert!(poll_once(held.as_mut()).is_pending());
        let happens = thread::spawn(move || event.happen());
        assert_eq!(block_on(reducer.reduce(1, async { 7 })), 7);
        drop(held);
        happens.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
    });
}

/// One joins while the other, which is alone, goes away.
#[test]
fn who_joins_a_leader_that_is_going_waits_for_the_same() {
    model(3, || {
        let reducer = Reducer::new();
        let event = Event::new();
        let call = {
            let (reducer, event) = (reducer.clone(), event.clone());
            move || {
                let (reducer, work) = (reducer.clone(), seven_after(&event));
                async move { reducer.reduce(1, work).await }
            }
        };
        let other = {
            let call = call.clone();
            thread::spawn(move || assert_eq!(block_on(call()), 7))
        };
        let mut mine = Box::pin(call());
        let first = poll_once(mine.as_mut());
        event.happen();
        let value = match first {
            Poll::Ready(value) => value,
            Poll::Pending => block_on(mine),
        };
        assert_eq!(value, 7);
        other.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
    });
}

/// A held caller takes no wake-up along: the other must land whatever the order of event, poll and join.
#[test]
fn a_held_caller_loses_nobody_elses_wake_up() {
    model(3, || {
        let reducer = Reducer::new();
        let event = Event::new();
        let mut held = Box::pin(reducer.reduce(1, seven_after(&event)));
        let happens = thread::spawn(move || event.happen());
        let landed = poll_once(held.as_mut());
        let value = match landed {
            Poll::Ready(value) => value,
            Poll::Pending => block_on(reducer.reduce(1, async { 7 })),
        };
        assert_eq!(value, 7);
        drop(held);
        happens.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
    });
}

/// The last caller leaves while another joins: it revives the flight or starts anew when the work is gone.
#[test]
fn the_last_ones_exit_and_a_call_never_overlap() {
    model(3, || {
        let reducer = Reducer::new();
        let runs = Runs::default();
        let mut last = Box::pin(reducer.reduce(1, work(&runs)));
        assert!(poll_once(last.as_mut()).is_pending());
        let other = {
            let (reducer, runs) = (reducer.clone(), runs.clone());
            thread::spawn(move || assert_eq!(block_on(reducer.reduce(1, work(&runs))), 7))
        };
        drop(last);
        other.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
        assert!((1..=2).contains(&runs.total()));
    });
}

#[test]
fn two_last_callers_that_leave_together_leave_nothing() {
    model(3, || {
        let reducer: &'static Reducer = Box::leak(Box::new(Reducer::new()));
        let runs = Runs::default();
        let forever = |runs: &Runs| {
            let runs = runs.clone();
            async move {
                let _running = runs.begin();
                std::future::pending::<()>().await;
            }
        };
        let mut one = Box::pin(reducer.reduce(1, forever(&runs)));
        let mut two = Box::pin(reducer.reduce(1, forever(&runs)));
        assert!(poll_once(one.as_mut()).is_pending());
        assert!(poll_once(two.as_mut()).is_pending());
        let other = thread::spawn(move || drop(one));
        drop(two);
        other.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
        drop(runs.begin());
    });
}

#[test]
fn forget_is_a_barrier_whatever_lands_meanwhile() {
    model(3, || {
        let reducer = Reducer::new();
        let mut old = Box::pin(reducer.reduce(1, async {
            YieldOnce::default().await;
            "old"
        }));
        assert!(poll_once(old.as_mut()).is_pending());
        let other = {
            let reducer = reducer.clone();
            thread::spawn(move || {
                reducer.forget(&1);
                assert_eq!(block_on(reducer.reduce(1, async { "new" })), "new");
            })
        };
        assert_eq!(block_on(old), "old");
        other.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
    });
}

#[test]
fn threads_share_and_park() {
    model(3, || {
        let reducer = Reducer::new();
        let runs = Runs::default();
        let call = {
            let (reducer, runs) = (reducer.clone(), runs.clone());
            move || {
                let value = reducer.reduce_blocking(1, || {
                    let _running = runs.begin();
                    7
                });
                assert_eq!(value, 7);
            }
        };
        let other = thread::spawn(call.clone());
        call();
        other.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
    });
}

#[test]
fn a_thread_and_a_task_share() {
    model(3, || {
        let reducer = Reducer::new();
        let runs = Runs::default();
        let other = {
            let (reducer, runs) = (reducer.clone(), runs.clone());
            thread::spawn(move || {
                reducer.reduce_blocking(1, || {
                    let _running = runs.begin();
                    7usize
                })
            })
        };
        assert_eq!(block_on(reducer.reduce(1, work(&runs))), 7);
        assert_eq!(other.join().unwrap(), 7);
        assert_eq!(reducer.in_flight(), 0);
    });
}

/// a -> b on one thread, b -> a on the other: whoever closes the ring is told; nobody hangs.
#[test]
fn a_ring_of_two_threads_never_hangs() {
    model(3, || {
        let reducer = Reducer::new();
        let side = |mine: u8, other: u8| {
            let reducer = reducer.clone();
            move || {
                let inner = reducer.clone();
                let outcome = reducer.try_reduce_blocking(mine, move || {
                    match inner.try_reduce_blocking(other, || 1u8) {
                        Ok(done) => done.value,
                        Err(ReduceError::Reentrant(_)) => 2,
                        Err(error) => panic!("{error}"),
                    }
                });
                assert!(matches!(outcome.map(|done| done.value), Ok(1 | 2)));
            }
        };
        let other = thread::spawn(side(1, 2));
        side(2, 1)();
        other.join().unwrap();
        assert_eq!(reducer.in_flight(), 0);
    });
}
