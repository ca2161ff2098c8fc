//! Where tasks, threads, runtimes and destructors meet in ways that no law names: found by reading, kept as
//! tests.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
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
fn where_there_is_no_clock_the_works_destructor_may_call_for_its_own_key() {
    struct Again(Reducer, mpsc::Sender<Result<i32, ReduceError>>);
    impl Drop for Again {
        fn drop(&mut self) {
            let called = self.0.try_reduce_blocking(1, || 8);
            self.1.send(called.map(|done| done.value)).unwrap();
        }
    }
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reducer = Reducer::builder().timeout(Duration::from_secs(1)).build();
    let (called, calls) = mpsc::channel();
    let again = Again(reducer.clone(), called);
    let outcome = runtime.block_on(reducer.try_reduce(1, async move {
        let _again = &again;
        7
    }));
    assert!(matches!(outcome, Err(ReduceError::Panicked(_))), "{outcome:?}");
    let from_within = calls.recv().unwrap();
    assert!(matches!(from_within, Err(ReduceError::Reentrant(_))), "{from_within:?}");
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn a_call_that_cannot_begin_says_why_whatever_its_keys_destructor_does() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let reducer = Reducer::builder().timeout(Duration::from_secs(1)).build();
    let outcome = runtime.block_on(reducer.try_reduce(Sore(true), async { 7 }));
    let Err(ReduceError::Panicked(said)) = outcome else { panic!("{outcome:?}") };
    assert!(said.message().contains("timers are disabled"), "{said}");
    assert_eq!(reducer.in_flight(), 0);

    let reducer = Reducer::new();
    let build = || -> std::future::Ready<u64> { panic!("cannot be built") };
    let call =
        AssertUnwindSafe(|| current_thread().block_on(reducer.reduce_with(Sore(true), build)));
    let payload = catch_unwind(call).unwrap_err();
    assert_eq!(payload.downcast_ref(), Some(&"cannot be built"));
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
            second.pending().pending(); // joins, and drives, for the task has not come yet
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

/// A value that nobody may have a copy of.
struct Unique(#[allow(dead_code, reason = "counts who holds it")] Arc<()>);

impl Clone for Unique {
    fn clone(&self) -> Self {
        panic!("a value's clone");
    }
}

type Boxed<T> = std::pin::Pin<Box<dyn Future<Output = T> + Send>>;

/// A call that has joined the flight of `key`, on a thread where nothing runs.
fn follower<K>(reducer: &'static Reducer, key: K, waker: Waker) -> Boxed<Unique>
where
    K: std::hash::Hash + Eq + Send + Sync + 'static,
{
    let join = move || {
        let mut call: Boxed<Unique> = Box::pin(reducer.reduce(key, never_runs()));
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
        call
    };
    thread::spawn(join).join().unwrap()
}

#[test]
fn a_value_that_panics_in_its_leaders_clone_is_not_kept_by_the_flight_that_called() {
    let reducer: &'static Reducer = Box::leak(Box::default());
    let held = Arc::new(());
    let value = Unique(Arc::clone(&held));
    let mut outer = ByHand::new(reducer.reduce("outer", async move {
        let others = Arc::new(Mutex::new(None));
        let join = Arc::clone(&others);
        let mut inner = Box::pin(reducer.reduce("inner", async move {
            *join.lock().unwrap() = Some(follower(reducer, "inner", Waker::noop().clone()));
            value
        }));
        poll_fn(|cx| {
            let poll = || drop(inner.as_mut().poll(cx));
            Poll::Ready(catch_unwind(AssertUnwindSafe(poll)).unwrap_err())
        })
        .await;
        drop(inner);
        drop(others.lock().unwrap().take());
        std::future::pending::<()>().await;
    }));
    outer.pending();
    assert_eq!(Arc::strong_count(&held), 1);
}

/// With a key that panics when its flight drops it, and no other call's does.
struct Sore(bool);

impl std::hash::Hash for Sore {
    fn hash<H: std::hash::Hasher>(&self, _: &mut H) {}
}

impl PartialEq for Sore {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Sore {}

impl Drop for Sore {
    fn drop(&mut self) {
        assert!(!self.0, "a key's destructor");
    }
}

#[test]
fn a_value_that_panics_in_clone_and_a_key_that_panics_in_drop_are_two_panics_and_no_abort() {
    /// The follower leaves as soon as it is woken: so the leader is the last.
    struct Leaves(Mutex<Option<Boxed<Unique>>>);
    impl Wake for Leaves {
        fn wake(self: Arc<Self>) {
            let call = self.0.lock().unwrap().take();
            drop(call);
        }
    }
    let reducer: &'static Reducer = Box::leak(Box::default());
    let mut leader = Box::pin(reducer.reduce(Sore(true), async move {
        let leaves = Arc::new(Leaves(Mutex::default()));
        let call = follower(reducer, Sore(false), Waker::from(Arc::clone(&leaves)));
        *leaves.0.lock().unwrap() = Some(call);
        Unique(Arc::default())
    }));
    let poll = || drop(leader.as_mut().poll(&mut Context::from_waker(Waker::noop())));
    assert!(catch_unwind(AssertUnwindSafe(poll)).is_err());
    drop(leader);
    assert_eq!(reducer.in_flight(), 0);
}

async fn some_turns() {
    for _ in 0..5 {
        tokio::task::yield_now().await;
    }
}

/// On a thread of its own: the caller's has entered a runtime.
fn run_for_a_while(runtime: &Arc<tokio::runtime::Runtime>) {
    let runtime = Arc::clone(runtime);
    thread::spawn(move || runtime.block_on(some_turns())).join().unwrap();
}

#[test]
fn a_task_that_found_the_seat_taken_is_told_when_the_lone_leader_leaves_it() {
    let runtime = Arc::new(current_thread());
    let (reducer, gate) = (Reducer::new(), Gate::new());
    let _entered = runtime.enter();
    let (pass, tasks) = (gate.clone(), Arc::clone(&runtime));
    let work = async move {
        pass.pass().await;
        pass.pass().await;
        let mut is_first = true;
        poll_fn(move |cx| {
            if std::mem::take(&mut is_first) {
                run_for_a_while(&tasks); // the flight's task comes, and finds the seat taken
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            Poll::Ready(7)
        })
        .await
    };
    let mut leader = ByHand::new(reducer.reduce(1, work));
    leader.pending();
    let follower = || ByHand::new(reducer.reduce(1, never_runs::<i32>()));
    let mut crowd: Vec<_> = (0..18).map(|_| follower()).collect();
    for follower in &mut crowd {
        follower.pending();
    }
    gate.open(); // it gets a task
    run_for_a_while(&runtime);
    drop(crowd);
    gate.open(); // the task is called,
    leader.pending(); // but the leader is faster; and is held from here on
    let mut late = follower();
    late.pending();
    for _ in 0..20 {
        run_for_a_while(&runtime);
    }
    assert!(late.is_woken(), "nobody moves the flight");
    assert_eq!(late.ready(), 7);
}

#[test]
fn a_lone_leader_from_outside_drives_a_flight_with_a_task_in_the_tasks_runtime() {
    // Its clock goes on when there is nothing else to do.
    let mut builder = tokio::runtime::Builder::new_current_thread();
    let runtime = builder.enable_all().start_paused(true).build().unwrap();
    let (reducer, gate) = (Reducer::new(), Gate::new());
    let pass = gate.clone();
    let work = async move {
        pass.pass().await;
        pass.pass().await;
        tokio::time::sleep(Duration::from_secs(1)).await;
        7
    };
    let mut leader = ByHand::new(reducer.try_reduce(1, work));
    leader.pending();
    let mut crowd: Vec<_> =
        (0..18).map(|_| ByHand::new(reducer.reduce(1, never_runs::<i32>()))).collect();
    {
        let _entered = runtime.enter();
        for follower in &mut crowd {
            follower.pending();
        }
    }
    gate.open();
    runtime.block_on(some_turns());
    drop(crowd);
    gate.open();
    leader.pending();
    runtime.block_on(async { tokio::time::sleep(Duration::from_secs(2)).await });
    assert_eq!(leader.ready().unwrap().value, 7);
}

/// A flight of two steps, whose only caller has left it to a task of the runtime; and how often it has come to its end.
fn left_to_a_task(detached: &Reducer, runtime: &tokio::runtime::Runtime) -> (Gate, Count) {
    let (gate, done) = (Gate::new(), Count::new());
    let (pass, counted) = (gate.clone(), done.clone());
    let mut leader = ByHand::new(detached.reduce(1, async move {
        pass.pass().await;
        pass.pass().await;
        counted.add();
    }));
    runtime.block_on(async {
        leader.pending();
        drop(leader);
        some_turns().await;
    });
    (gate, done)
}

#[test]
fn a_detached_flight_moves_on_to_the_runtime_of_its_last_caller() {
    let (first, second) = (current_thread(), current_thread());
    let reducer = Reducer::builder().detached(true).build();
    let (gate, done) = left_to_a_task(&reducer, &first);
    let mut other = ByHand::new(reducer.reduce(1, never_runs::<()>()));
    let _entered = second.enter();
    other.pending();
    drop(first); // which hands it back
    assert!(other.is_woken());
    other.pending();
    drop(other); // it goes on in another task
    drop(_entered);
    for _ in 0..2 {
        gate.open();
        second.block_on(some_turns());
    }
    assert_eq!((done.get(), reducer.in_flight()), (1, 0));
}

/// Polls a call in the very place where it is woken, and drops it.
struct AtOnce(Mutex<Option<Pin<Box<dyn Future<Output = ()> + Send>>>>, tokio::runtime::Handle);

impl Wake for AtOnce {
    fn wake(self: Arc<Self>) {
        let Some(mut call) = self.0.lock().unwrap().take() else { return };
        let _entered = self.1.enter();
        assert!(call.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
    }
}

#[test]
fn a_detached_flight_that_has_moved_on_by_the_time_its_first_task_is_gone_goes_on() {
    let (first, second) = (current_thread(), current_thread());
    let reducer = Reducer::builder().detached(true).build();
    let (gate, done) = left_to_a_task(&reducer, &first);
    let at_once = Arc::new(AtOnce(Mutex::new(None), second.handle().clone()));
    let joins = reducer.clone();
    let mut call = Box::pin(async move { joins.reduce(1, never_runs::<()>()).await });
    {
        let _entered = second.enter();
        let waker = Waker::from(Arc::clone(&at_once));
        assert!(call.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    *at_once.0.lock().unwrap() = Some(call);
    drop(first); // which hands it back; who is called drives, and leaves it to a task of the second
    assert!(at_once.0.lock().unwrap().is_none());
    for _ in 0..2 {
        gate.open();
        second.block_on(some_turns());
    }
    assert_eq!((done.get(), reducer.in_flight()), (1, 0));
}
