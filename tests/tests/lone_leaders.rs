//! A leader that is alone waits in no line, and says where it is at home before it goes: whoever comes later finds both.

use std::future::{Future, poll_fn};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use reducer_core::Reducer;
use tokio::runtime::{Builder, Runtime};
use tokio::time::sleep;

/// How often somebody was woken.
#[derive(Default)]
struct Woken(AtomicUsize);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Woken {
    fn times(&self) -> usize {
        self.0.swap(0, Ordering::SeqCst)
    }
}

fn poll<F: Future + ?Sized>(call: Pin<&mut F>, woken: &Arc<Woken>) -> Poll<F::Output> {
    call.poll(&mut Context::from_waker(&Waker::from(Arc::clone(woken))))
}

/// Lets one through each time that it is opened.
#[derive(Clone, Default)]
struct Gate(Arc<Mutex<(usize, Option<Waker>)>>);

impl Gate {
    fn open(&self) {
        let mut gate = self.0.lock().unwrap();
        gate.0 += 1;
        let waker = gate.1.take();
        drop(gate);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    async fn pass(&self) {
        poll_fn(|cx| {
            let mut gate = self.0.lock().unwrap();
            if gate.0 > 0 {
                gate.0 -= 1;
                return Poll::Ready(());
            }
            gate.1 = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }
}

fn a_runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

/// In no runtime, polls a call that has just come and is woken when `gate` opens. The work must find a reactor all the same.
fn a_thread_outside_drives(reducer: &Reducer, gate: &Gate) {
    let woken = Arc::default();
    let mut call = Box::pin(reducer.try_reduce(1, async {}));
    assert!(poll(call.as_mut(), &woken).is_pending());
    gate.open();
    assert!(woken.times() > 0);
    if let Poll::Ready(Err(error)) = poll(call.as_mut(), &woken) {
        panic!("{error}");
    }
}

#[test]
fn a_home_that_is_found_late_is_known_to_threads_outside() {
    let runtime = a_runtime();
    let (first, second) = (Gate::default(), Gate::default());
    let (one, two) = (first.clone(), second.clone());
    let reducer = Reducer::new();
    let mut leader = Box::pin(reducer.try_reduce(1, async move {
        one.pass().await;
        two.pass().await;
        sleep(Duration::from_millis(1)).await;
    }));
    let woken = Arc::default();
    assert!(poll(leader.as_mut(), &woken).is_pending(), "in no runtime");
    first.open();
    let entered = runtime.enter();
    assert!(poll(leader.as_mut(), &woken).is_pending());
    drop(entered);
    a_thread_outside_drives(&reducer, &second);
}

#[test]
fn a_second_home_is_known_to_threads_outside() {
    let (a, b) = (a_runtime(), a_runtime());
    let (first, second) = (Gate::default(), Gate::default());
    let (one, two) = (first.clone(), second.clone());
    let reducer = Reducer::new();
    let mut leader = Box::pin(reducer.try_reduce(1, async move {
        for _ in 0..3 {
            one.pass().await;
        }
        two.pass().await;
        sleep(Duration::from_millis(1)).await;
    }));
    let woken = Arc::default();
    let entered = a.enter();
    assert!(poll(leader.as_mut(), &woken).is_pending());
    let mut crowd: Vec<_> = (0..40).map(|_| Box::pin(reducer.try_reduce(1, async {}))).collect();
    for call in &mut crowd {
        assert!(poll(call.as_mut(), &woken).is_pending());
    }
    // So many get a task, which dies with its runtime; and then they are gone, too.
    first.open();
    drop(entered);
    drop((a, crowd));
    let entered = b.enter();
    for _ in 0..3 {
        assert!(poll(leader.as_mut(), &woken).is_pending());
        first.open();
    }
    assert!(poll(leader.as_mut(), &woken).is_pending());
    drop(entered);
    a_thread_outside_drives(&reducer, &second);
}

#[test]
fn who_joins_a_leader_that_woke_itself_says_where_it_is() {
    let runtime = a_runtime();
    let reducer = Reducer::new();
    let mut is_first = true;
    let mut leader = Box::pin(reducer.try_reduce(1, async move {
        poll_fn(|cx| {
            if std::mem::take(&mut is_first) {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
        sleep(Duration::from_millis(1)).await;
    }));
    let mut native = Box::pin(reducer.try_reduce(1, async {}));
    let mut outsider = Box::pin(reducer.try_reduce(1, async {}));
    let woken = Arc::default();
    let entered = runtime.enter();
    assert!(poll(leader.as_mut(), &woken).is_pending());
    assert!(poll(native.as_mut(), &woken).is_pending());
    drop(entered);
    assert!(poll(outsider.as_mut(), &woken).is_pending());
    let driven = poll(outsider.as_mut(), &woken);
    assert!(driven.is_pending(), "{driven:?}");
}

/// A thousand, of which none has been polled twice: the flight's task serves them.
#[test]
fn a_crowd_that_came_during_the_first_poll_is_not_woken_for_each_step() {
    let runtime = a_runtime();
    let entered = runtime.enter();
    let gate = Gate::default();
    let waits = gate.clone();
    let (go, wait) = mpsc::channel::<()>();
    let (started, starts) = mpsc::channel::<()>();
    let wait = Mutex::new(wait);
    let reducer = Reducer::new();
    let leads = {
        let (reducer, handle) = (reducer.clone(), runtime.handle().clone());
        thread::spawn(move || {
            let _entered = handle.enter();
            let mut leader = Box::pin(async move {
                let work = async move {
                    started.send(()).unwrap();
                    wait.lock().unwrap().recv().unwrap();
                    waits.pass().await;
                    waits.pass().await;
                };
                reducer.reduce(1, work).await;
            });
            assert!(poll(leader.as_mut(), &Arc::default()).is_pending());
            leader
        })
    };
    starts.recv().unwrap();
    let woken = Arc::default();
    let mut crowd: Vec<_> = (0..1000).map(|_| Box::pin(reducer.reduce(1, async {}))).collect();
    for call in &mut crowd {
        assert!(poll(call.as_mut(), &woken).is_pending());
    }
    go.send(()).unwrap();
    let _leader = leads.join().unwrap();
    woken.times();
    gate.open();
    assert_eq!(woken.times(), 0);
    drop(entered);
}

#[test]
fn a_leader_that_was_away_twice_is_served_by_the_flights_task() {
    let runtime = a_runtime();
    let _entered = runtime.enter();
    let gate = Gate::default();
    let waits = gate.clone();
    let reducer = Reducer::new();
    let mut leader = Box::pin(reducer.reduce(1, async move {
        for _ in 0..3 {
            waits.pass().await;
        }
    }));
    let (leads, follows) = (Arc::default(), Arc::default());
    assert!(poll(leader.as_mut(), &leads).is_pending());
    gate.open();
    assert!(poll(leader.as_mut(), &leads).is_pending());
    let mut crowd: Vec<_> = (0..100).map(|_| Box::pin(reducer.reduce(1, async {}))).collect();
    for call in &mut crowd {
        assert!(poll(call.as_mut(), &follows).is_pending());
    }
    leads.times();
    gate.open();
    assert_eq!((leads.times(), follows.times()), (0, 0));
}

#[test]
fn a_waker_that_panics_in_its_end_costs_its_leader_no_wake_up() {
    struct Bad;

    impl Wake for Bad {
        fn wake(self: Arc<Self>) {}
    }

    impl Drop for Bad {
        fn drop(&mut self) {
            panic!("a waker's end");
        }
    }

    let gate = Gate::default();
    let waits = gate.clone();
    let reducer = Reducer::new();
    let mut leader = Box::pin(reducer.try_reduce(1, async move { waits.pass().await }));
    let bad = Waker::from(Arc::new(Bad));
    assert!(leader.as_mut().poll(&mut Context::from_waker(&bad)).is_pending());
    // The flight has the last of it.
    drop(bad);
    let woken = Arc::default();
    let _ = catch_unwind(AssertUnwindSafe(|| poll(leader.as_mut(), &woken).is_pending()));
    gate.open();
    assert_eq!(woken.times(), 1);
}
