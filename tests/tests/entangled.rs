//! Where tasks, threads, runtimes and destructors meet in ways that no law names: found by reading, kept as
//! tests.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, LazyLock, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use reducer_core::{ReduceError, Reducer, reduceable};
use reducer_tests::{At, ByHand, Count, Gate, Touchy, never_runs};

fn current_thread() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

/// Work of so many steps.
fn steps(gate: &Gate, n: usize) -> impl Future<Output = i32> + Send + use<> {
    let gate = gate.clone();
    async move {
        for _ in 0..n {
            gate.pass().await;
        }
        7
    }
}

#[test]
fn a_timeout_ends_work_that_uses_up_its_tasks_budget() {
    let reducer = Reducer::builder().timeout(Duration::from_millis(20)).build();
    let outcome = current_thread().block_on(reducer.try_reduce(1, async {
        loop {
            tokio::task::consume_budget().await;
        }
    }));
    let outcome: Result<reducer_core::Reduced<()>, _> = outcome;
    assert!(matches!(outcome, Err(ReduceError::TimedOut(_))));
}

#[test]
fn a_timers_runtime_that_died_is_no_panic_of_the_work() {
    let reducer = Reducer::builder().timeout(Duration::from_secs(100)).build();
    let (gate, dies, lives) = (Gate::new(), current_thread(), current_thread());
    let mut leader = ByHand::new(reducer.try_reduce(1, steps(&gate, 2)));
    let mut follower = ByHand::new(reducer.try_reduce(1, never_runs::<i32>()));
    {
        let _entered = dies.enter();
        leader.pending();
    }
    {
        let _entered = lives.enter();
        follower.pending();
    }
    drop((leader, dies));
    gate.open();
    let outcome = follower.ready();
    assert!(matches!(outcome, Err(ReduceError::Cancelled(_))), "{outcome:?}");
}

#[test]
fn a_runtime_without_a_clock_fails_the_call_and_no_more() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reducer = Reducer::builder().timeout(Duration::from_secs(1)).build();
    let bomb = Touchy::new(1, At::Drop, 1);
    let outcome = runtime.block_on(reducer.try_reduce(1, async move {
        let _bomb = &bomb;
    }));
    let Err(ReduceError::Panicked(said)) = outcome else { panic!("{outcome:?}") };
    assert!(said.message().contains("timers are disabled"), "{said}");
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn detached_work_goes_on_when_the_one_who_drove_it_leaves_at_a_bad_moment() {
    let runtime = current_thread();
    let reducer = Reducer::builder().detached(true).build();
    let (in_poll, polled) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let (gate, done) = (Gate::new(), Count::new());
    let (pass, counted) = (gate.pass(), done.clone());
    let work = async move {
        pass.await;
        in_poll.send(()).unwrap();
        may_go_on.lock().unwrap().recv().unwrap();
        let mut yielded = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut yielded, true) {
                return Poll::Ready(());
            }
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
        counted.add();
    };
    let turn = || {
        runtime.block_on(async {
            for _ in 0..10 {
                tokio::task::yield_now().await;
            }
        });
    };
    {
        let _entered = runtime.enter();
        let mut first = ByHand::new(reducer.try_reduce(1, work));
        first.pending();
        // And is dropped: the flight moves to a task of its own.
    }
    turn();
    gate.open();
    thread::scope(|threads| {
        threads.spawn(|| {
            let _entered = runtime.enter();
            let mut second = ByHand::new(reducer.try_reduce(1, never_runs::<()>()));
            second.pending(); // drives, for the task has not come yet
        });
        polled.recv().unwrap();
        turn(); // the task finds the seat taken
        go_on.send(()).unwrap();
    });
    turn();
    assert_eq!((done.get(), reducer.in_flight()), (1, 0));
}

#[test]
fn a_thread_that_blocks_its_own_runtime_still_lands_the_flight_that_moved_there() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    current_thread().block_on(async {
        let crowd: Vec<_> = (0..20)
            .map(|_| {
                let (reducer, work) = (reducer.clone(), steps(&gate, 30));
                tokio::spawn(async move { reducer.reduce(1, work).await })
            })
            .collect();
        tokio::task::yield_now().await;
        let (opener, seen) = (gate.clone(), reducer.clone());
        thread::spawn(move || {
            while seen.callers(&1) < 21 {
                thread::yield_now();
            }
            (0..30).for_each(|_| opener.open());
        });
        assert_eq!(reducer.reduce_blocking(1, || -> i32 { panic!("it follows") }), 7);
        for call in crowd {
            assert_eq!(call.await.unwrap(), 7);
        }
    });
}

#[test]
fn a_thread_that_drives_a_tasks_work_does_so_in_the_tasks_runtime() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let pass = gate.pass();
    let mut leader = ByHand::new(reducer.try_reduce(1, async move {
        pass.await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        1
    }));
    {
        let _entered = runtime.enter();
        leader.pending();
    }
    let outcome = thread::scope(|threads| {
        let follower = threads.spawn(|| reducer.try_reduce_blocking(1, || 0));
        while reducer.callers(&1) < 2 {
            thread::yield_now();
        }
        gate.open();
        follower.join().unwrap()
    });
    assert_eq!(outcome.unwrap().value, 1);
}

struct OnDrop<F: FnMut()>(F);

impl<F: FnMut()> Drop for OnDrop<F> {
    fn drop(&mut self) {
        (self.0)();
    }
}

#[test]
fn a_destructor_that_another_flights_work_runs_is_told_of_the_ring() {
    let reducer: &'static Reducer = Box::leak(Box::new(Reducer::new()));
    let told = Arc::new(Mutex::new(None));
    let tell = Arc::clone(&told);
    let guard = OnDrop(move || {
        let outcome = reducer.try_reduce_blocking("b", || 0);
        *tell.lock().unwrap() = Some(matches!(outcome, Err(ReduceError::Reentrant(_))));
    });
    let mut a = ByHand::new(reducer.reduce("a", async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    }));
    a.pending();
    reducer.reduce_blocking("b", move || {
        drop(a);
        1
    });
    assert_eq!(*told.lock().unwrap(), Some(true));
}

static TOUCHY: LazyLock<Reducer> = LazyLock::new(Reducer::new);

#[reduceable(reducer = TOUCHY, key = key.twin())]
async fn by_temporary_key(key: &Touchy, gate: Gate) -> i32 {
    gate.pass().await;
    1
}

#[test]
fn a_key_that_panics_in_drop_leaves_no_phantom_follower() {
    for nth in 1..4 {
        let plain = Touchy::new(nth, At::Drop, 0);
        let mut leader = ByHand::new(by_temporary_key(&plain, Gate::new()));
        leader.pending();
        let bomb = Touchy::new(nth, At::Drop, nth as usize);
        let mut follower = ByHand::new(by_temporary_key(&bomb, Gate::new()));
        let _ = catch_unwind(AssertUnwindSafe(|| follower.poll()));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(follower)));
        let _ = catch_unwind(AssertUnwindSafe(|| drop(bomb)));
        drop(leader);
        assert_eq!(TOUCHY.in_flight(), 0, "a phantom at {nth}");
    }
}

type Act = Box<dyn FnOnce() + Send>;

/// Acts when it is woken, there and then.
struct Inline(Mutex<Option<Act>>);

impl Wake for Inline {
    fn wake(self: Arc<Self>) {
        let act = self.0.lock().unwrap().take();
        if let Some(act) = act {
            act();
        }
    }
}

#[test]
fn a_waker_that_a_landing_flight_calls_is_not_inside_of_it() {
    let reducer = Reducer::new();
    let got = Arc::new(Mutex::new(None));
    let (inner, tell) = (reducer.clone(), Arc::clone(&got));
    let act: Act = Box::new(move || {
        *tell.lock().unwrap() = Some(inner.try_reduce_blocking(2, || 0).map(|done| done.value));
    });
    let waker = Waker::from(Arc::new(Inline(Mutex::new(Some(act)))));
    let follow = {
        let reducer = reducer.clone();
        async move { reducer.reduce(1, never_runs::<i32>()).await }
    };
    let other = {
        let (reducer, inner) = (reducer.clone(), reducer.clone());
        async move {
            reducer.reduce(2, async move { inner.reduce(1, never_runs::<i32>()).await + 1 }).await
        }
    };
    // Kept alive until the landing.
    let mut both = Some((Box::pin(other), Box::pin(follow)));
    let kept = Arc::new(Mutex::new(None));
    let keep = Arc::clone(&kept);
    let leader = reducer.reduce(1, async move {
        // Joined during the last poll of the work: the one wake that comes is the landing's.
        let (mut other, mut follow) = both.take().expect("polled once");
        let joined = thread::spawn(move || {
            let mut cx = Context::from_waker(Waker::noop());
            assert!(other.as_mut().poll(&mut cx).is_pending());
            assert!(follow.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
            (other, follow)
        });
        *keep.lock().unwrap() = Some(joined.join().unwrap());
        1
    });
    ByHand::new(leader).ready();
    let got = got.lock().unwrap().take().expect("it was woken");
    assert!(matches!(got, Ok(2)), "{got:?}");
    drop(kept);
}

#[test]
fn a_task_that_a_block_on_inside_of_the_work_polls_is_not_inside_the_flight() {
    let reducer = Reducer::new();
    let runtime = current_thread();
    let unrelated = {
        let reducer = reducer.clone();
        runtime.spawn(async move { reducer.try_reduce(7, never_runs::<i32>()).await })
    };
    let led = reducer.try_reduce_blocking(7, || {
        runtime.block_on(async {
            while reducer.callers(&7) < 2 {
                tokio::task::yield_now().await;
            }
            1
        })
    });
    assert_eq!(led.unwrap().value, 1);
    assert_eq!(runtime.block_on(unrelated).unwrap().unwrap().value, 1);
}
