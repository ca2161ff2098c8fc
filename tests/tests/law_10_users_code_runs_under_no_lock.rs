//! Law 10. `Hash`, `Eq`, `Clone`, `Drop`, wakers and the work run under no lock. Each may panic or call
//! the reducer again; nothing is lost but that call.

use std::hash::{Hash, Hasher};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::pin;
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};

use reducer_core::Reducer;
use reducer_tests::{At, ByHand, Count, DropCounts, Gate, Touchy, never_runs, panics};

thread_local! {
    /// What user code calls back into.
    static REDUCER: Reducer = Reducer::new();
}

/// Touches every lock of the reducer that a call of `key` would.
fn call_back(reducer: &Reducer, key: u64) {
    let _ = (reducer.in_flight(), reducer.is_in_flight(&key));
    assert_eq!(ByHand::new(reducer.reduce(key + 1_000_000, async { 1 })).ready(), 1);
    assert_eq!(reducer.reduce_blocking(key + 2_000_000, || 2), 2);
}

/// A key whose every method calls the reducer.
#[derive(Debug)]
struct Chatty(u64);

impl Hash for Chatty {
    fn hash<H: Hasher>(&self, state: &mut H) {
        REDUCER.with(|reducer| call_back(reducer, self.0));
        state.write_u64(0); // all collide, so that `Eq` is asked
    }
}

impl PartialEq for Chatty {
    fn eq(&self, other: &Self) -> bool {
        REDUCER.with(|reducer| call_back(reducer, self.0));
        self.0 == other.0
    }
}

impl Eq for Chatty {}

impl Clone for Chatty {
    fn clone(&self) -> Self {
        REDUCER.with(|reducer| call_back(reducer, self.0));
        Self(self.0)
    }
}

impl Drop for Chatty {
    fn drop(&mut self) {
        REDUCER.with(|reducer| call_back(reducer, self.0));
    }
}

#[test]
fn keys_and_values_may_call_the_reducer_from_all_their_code() {
    let reducer = REDUCER.with(Clone::clone);
    let gate = Gate::new();
    let call = |key, gate: &Gate| {
        let gate = gate.clone();
        ByHand::new(reducer.reduce(Chatty(key), async move {
            gate.pass().await;
            Chatty(key)
        }))
    };
    let mut tasks: Vec<_> = [1, 2, 1, 2, 3].map(|key| call(key, &gate)).into();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    assert_eq!(reducer.in_flight(), 3);
    assert!(reducer.forget(&Chatty(3)));
    (0..3).for_each(|_| gate.open());
    let keys: Vec<_> = tasks.iter_mut().map(|task| task.ready().0).collect();
    assert_eq!(keys, [1, 2, 1, 2, 3]);
    drop(tasks);
    assert_eq!(reducer.in_flight(), 0);
}

/// A waker that panics is contained, so it writes down what it found, and is asked later.
#[test]
fn a_waker_may_call_the_reducer_and_even_the_key_it_is_woken_for() {
    struct Recall(Reducer, Count, Mutex<Vec<(usize, bool, i32)>>);
    impl Wake for Recall {
        fn wake(self: Arc<Self>) {
            call_back(&self.0, 1);
            let (works_gone, is_in_flight) = (self.1.get(), self.0.is_in_flight(&1u64));
            let fresh = self.0.reduce(1u64, async { 2 });
            let fresh = catch_unwind(AssertUnwindSafe(|| ByHand::new(fresh).ready())).unwrap_or(-1);
            self.2.lock().unwrap().push((works_gone, is_in_flight, fresh));
        }
    }
    let reducer = Reducer::new();
    let gone = Count::new();
    let guard = DropCounts(gone.clone());
    let (in_poll, polled) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let work = std::future::poll_fn(move |_| {
        let _ = &guard;
        in_poll.send(()).unwrap();
        may_go_on.recv().unwrap();
        Poll::Ready(1)
    });
    let recall = Arc::new(Recall(reducer.clone(), gone, Mutex::default()));
    std::thread::scope(|threads| {
        let leader = threads.spawn(|| ByHand::new(reducer.reduce(1u64, work)).ready());
        polled.recv().unwrap();
        // It waits while the leader polls, so it is the landing that wakes it.
        let waker = Waker::from(Arc::clone(&recall));
        let mut follower = pin!(reducer.reduce(1u64, never_runs::<i32>()));
        let mut cx = Context::from_waker(&waker);
        assert!(follower.as_mut().poll(&mut cx).is_pending());
        go_on.send(()).unwrap();
        assert_eq!(leader.join().unwrap(), 1);
        assert_eq!(follower.as_mut().poll(&mut cx), Poll::Ready(1));
    });
    // The work is gone and the key is free before anybody is woken.
    assert_eq!(*recall.2.lock().unwrap(), [(1, false, 2)]);
}

#[test]
fn a_waker_that_panics_costs_nobody_else_a_wake() {
    struct Bomb;
    impl Wake for Bomb {
        fn wake(self: Arc<Self>) {
            panic!("a waker");
        }
    }
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut leader = ByHand::new(reducer.reduce(1, gate.pass()));
    leader.pending();
    let waker = Waker::from(Arc::new(Bomb));
    let mut bombs: Vec<_> =
        (0..3).map(|_| Box::pin(reducer.reduce(1, never_runs::<()>()))).collect();
    for bomb in &mut bombs {
        assert!(bomb.as_mut().poll(&mut Context::from_waker(&waker)).is_pending());
    }
    let mut last = ByHand::new(reducer.reduce(1, never_runs::<()>()));
    last.pending();
    gate.open();
    assert!(leader.is_woken() && last.is_woken());
    last.ready();
    leader.ready();
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn a_destructor_may_call_the_reduced_key_when_the_work_is_abandoned() {
    struct CallsOnDrop(Reducer, Count);
    impl Drop for CallsOnDrop {
        fn drop(&mut self) {
            let counted = self.1.clone();
            self.0.reduce_blocking(1, move || {
                counted.add();
            });
        }
    }
    let reducer = Reducer::new();
    let ran = Count::new();
    let guard = CallsOnDrop(reducer.clone(), ran.clone());
    let mut call = ByHand::new(reducer.reduce(1, async move {
        let _guard = guard;
        std::future::pending::<()>().await;
    }));
    call.pending();
    drop(call);
    assert_eq!((ran.get(), reducer.in_flight()), (1, 0));
}

fn touchy_call(at: At, nth: usize) -> (Reducer, Option<String>) {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let key = Touchy::new(1, at, nth);
    let call = |gate: Gate, key: Touchy| {
        ByHand::new(reducer.reduce(key, async move {
            gate.pass().await;
            1u8
        }))
    };
    let message = catch_unwind(AssertUnwindSafe(|| {
        let mut first = call(gate.clone(), key.twin());
        let mut second = call(gate.clone(), key.twin());
        first.pending();
        second.pending();
        gate.open();
        assert_eq!((first.ready(), second.ready()), (1, 1));
    }))
    .err()
    .map(reducer_tests::panic_message);
    let _ = catch_unwind(AssertUnwindSafe(|| drop(key)));
    (reducer, message)
}

#[test]
fn a_key_that_panics_in_its_own_code_harms_that_call_alone() {
    for at in [At::Hash, At::Eq, At::Drop] {
        for nth in 1..=4 {
            let (reducer, _) = touchy_call(at, nth);
            assert_eq!(reducer.in_flight(), 0, "{at:?} {nth}");
            assert_eq!(
                ByHand::new(reducer.reduce(Touchy::new(1, at, 0), async { 2u8 })).ready(),
                2
            );
        }
    }
}

#[test]
fn a_key_that_panics_in_hash_fails_its_call_and_the_others_go_on() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut good = ByHand::new(reducer.reduce(Touchy::new(1, At::Hash, 0), gate.pass()));
    good.pending();
    let mut bad = ByHand::new(reducer.reduce(Touchy::new(1, At::Hash, 1), never_runs::<()>()));
    assert_eq!(panics(|| bad.poll()), "touched at Hash");
    let mut bad = ByHand::new(reducer.reduce(Touchy::new(1, At::Eq, 1), never_runs::<()>()));
    assert_eq!(panics(|| bad.poll()), "touched at Eq");
    drop(bad);
    gate.open();
    good.ready();
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn a_key_that_panics_in_clone_fails_the_borrowed_call_that_would_lead() {
    // `reduce_by_ref` owns the key only to lead: for `Touchy` that is `Clone`.
    let reducer = Reducer::new();
    let key = Touchy::new(1, At::Clone, 1);
    let mut bad = ByHand::new(reducer.reduce_by_ref(&key, never_runs::<()>()));
    assert_eq!(panics(|| bad.poll()), "touched at Clone");
    drop(bad);
    assert_eq!(reducer.in_flight(), 0);
    assert_eq!(ByHand::new(reducer.reduce_by_ref(&key, async { 1 })).ready(), 1);
}

#[test]
fn a_value_that_panics_in_clone_fails_one_caller_and_the_others_have_theirs() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let value = Touchy::new(7, At::Clone, 2);
    let mut tasks: Vec<_> = (0..4)
        .map(|_| {
            let (gate, value) = (gate.clone(), value.twin());
            ByHand::new(reducer.reduce(1, async move {
                gate.pass().await;
                value
            }))
        })
        .collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    gate.open();
    let mut failed = 0;
    for task in &mut tasks {
        match catch_unwind(AssertUnwindSafe(|| task.ready())) {
            Ok(value) => assert_eq!(value.id, 7),
            Err(payload) => {
                assert_eq!(reducer_tests::panic_message(payload), "touched at Clone");
                failed += 1;
            }
        }
    }
    assert_eq!((failed, reducer.in_flight()), (1, 0));
}

#[test]
fn a_value_that_panics_in_drop_is_contained() {
    for nth in 1..=4 {
        let reducer = Reducer::new();
        let gate = Gate::new();
        let value = Touchy::new(7, At::Drop, nth);
        let mut tasks: Vec<_> = (0..3)
            .map(|_| {
                let (gate, value) = (gate.clone(), value.twin());
                ByHand::new(reducer.reduce_with(1, move || async move {
                    gate.pass().await;
                    value
                }))
            })
            .collect();
        let _ = catch_unwind(AssertUnwindSafe(|| {
            tasks.iter_mut().for_each(|task| {
                task.pending();
            });
            gate.open();
            for task in &mut tasks {
                let _ = task.poll();
            }
            drop(tasks);
        }));
        assert_eq!(reducer.in_flight(), 0);
        let _ = catch_unwind(AssertUnwindSafe(|| drop(value)));
    }
}

#[test]
fn work_whose_destructor_panics_lands_all_the_same() {
    struct Bomb {
        _counts: DropCounts,
    }
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a destructor");
        }
    }
    let reducer = Reducer::new();
    let exploded = Count::new();

    // Abandoned: the panic goes no further than the flight.
    let bomb = Bomb { _counts: DropCounts(exploded.clone()) };
    let mut call = ByHand::new(reducer.reduce(1, async move {
        let _bomb = bomb;
        std::future::pending::<()>().await;
    }));
    call.pending();
    drop(call);
    assert_eq!((reducer.in_flight(), exploded.get()), (0, 1));

    // Done: the value is there, the residue blows up.
    struct Done {
        _residue: Option<Bomb>,
    }
    impl Future for Done {
        type Output = u8;
        fn poll(self: std::pin::Pin<&mut Self>, _: &mut Context<'_>) -> Poll<u8> {
            Poll::Ready(7)
        }
    }
    let mut call = ByHand::new(
        reducer.reduce(1, Done { _residue: Some(Bomb { _counts: DropCounts(exploded.clone()) }) }),
    );
    assert_eq!(call.ready(), 7);
    drop(call);
    assert_eq!((reducer.in_flight(), exploded.get()), (0, 2), "each once");
}

#[test]
fn the_last_caller_may_leave_while_its_thread_unwinds() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("a second panic, while the first unwinds");
        }
    }
    let reducer = Reducer::new();
    let dropped = Count::new();
    let guard = DropCounts(dropped.clone());
    let bomb = Bomb;
    let mut call = ByHand::new(reducer.reduce(1, async move {
        let _guard = guard;
        let _bomb = bomb;
        std::future::pending::<()>().await;
    }));
    call.pending();
    let message = panics(move || {
        let _call = call;
        panic!("the first");
    });
    assert_eq!((message.as_str(), dropped.get(), reducer.in_flight()), ("the first", 1, 0));
}

#[test]
fn a_wrapped_function_that_panics_as_it_is_dropped_costs_its_last_call_alone() {
    let reducer = Reducer::new();
    let fuse = Touchy::new(1, At::Drop, 1);
    let wrapped = reducer.wrap(move |id: u64| {
        let _fuse = &fuse;
        async move { id }
    });
    let mut call = ByHand::new(wrapped(7));
    drop(wrapped);
    // The flight has landed by now.
    assert_eq!(panics(|| call.poll()), "touched at Drop");
    drop(call);
    assert_eq!(reducer.in_flight(), 0);
}
