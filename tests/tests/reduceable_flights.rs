//! `#[reduceable]` keeps the laws of a flight: its calls come and go as those of `Reducer::reduce` do.
#![deny(warnings)]

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::thread;

use reducer_core::{Reducer, reduceable};
use reducer_tests::{ByHand, Count, DropCounts, Gate, SlowDrop, count_run, panics, runs, settle};

#[test]
fn a_leader_that_is_dropped_leaves_the_run_to_the_others() {
    #[reduceable(key = id)]
    async fn passed_on(id: u64, gate: &Gate) -> String {
        count_run("passed_on");
        gate.pass().await;
        format!("row {id}")
    }
    let gate = Gate::new();
    let mut leader = ByHand::new(passed_on(1, &gate));
    leader.pending();
    let mut followers: Vec<_> = (0..3).map(|_| ByHand::new(passed_on(1, &gate))).collect();
    followers.iter_mut().for_each(|follower| {
        follower.pending();
    });
    drop(leader);
    gate.open();
    let outcomes = settle(&mut followers);
    assert_eq!(outcomes, vec![Some("row 1".to_owned()); 3]);
    assert_eq!(runs("passed_on"), 1);
}

#[test]
fn a_follower_keeps_its_arguments_until_it_returns() {
    #[reduceable(skip(_guard))]
    async fn guarded(id: u64, _guard: DropCounts) -> u64 {
        std::future::pending::<()>().await;
        id
    }
    let dropped = Count::new();
    let mut calls = [(); 2].map(|()| ByHand::new(guarded(1, DropCounts(dropped.clone()))));
    for call in &mut calls {
        call.pending();
    }
    assert_eq!(dropped.get(), 0);
    drop(calls);
    assert_eq!(dropped.get(), 2);
}

thread_local! {
    static WHEN_CLONED: Cell<Option<Box<dyn FnOnce()>>> = Cell::default();
}

/// A key whose clone may do something first.
#[derive(PartialEq, Eq, Hash)]
struct Watched(u64);

impl Clone for Watched {
    fn clone(&self) -> Self {
        if let Some(act) = WHEN_CLONED.take() {
            act();
        }
        Self(self.0)
    }
}

struct Touchy(bool);

impl Drop for Touchy {
    fn drop(&mut self) {
        assert!(!self.0, "touched");
    }
}

/// Between the look-up and the lead the key is cloned, which may let somebody else lead.
#[test]
fn who_is_beaten_to_the_lead_and_panics_over_an_argument_leaves_the_flight() {
    #[reduceable(reducer = reducer, skip(_touchy, reducer))]
    async fn beaten(id: &Watched, _touchy: Touchy, reducer: &Reducer) -> u64 {
        std::future::pending::<()>().await;
        id.0
    }
    let reducer: &'static Reducer = Box::leak(Box::default());
    let rival = Rc::new(Cell::new(None));
    let led = Rc::clone(&rival);
    WHEN_CLONED.set(Some(Box::new(move || {
        let mut call = ByHand::new(beaten(&Watched(1), Touchy(false), reducer));
        call.pending();
        led.set(Some(call));
    })));
    let key = Watched(1);
    let mut call = ByHand::new(beaten(&key, Touchy(true), reducer));
    assert_eq!(panics(|| call.poll()), "touched");
    drop(call);
    assert_eq!(reducer.in_flight(), 1);
    drop(rival.take());
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn with_the_last_caller_goes_the_work() {
    #[reduceable(reducer = reducer, key = id)]
    async fn abandoned(id: u64, reducer: &Reducer, gate: &Gate, dropped: Count) -> u64 {
        count_run("abandoned");
        let _guard = DropCounts(dropped);
        gate.pass().await;
        id
    }
    let (reducer, gate, dropped) = (Reducer::new(), Gate::new(), Count::new());
    let mut callers: Vec<_> =
        (0..3).map(|_| ByHand::new(abandoned(1, &reducer, &gate, dropped.clone()))).collect();
    callers.iter_mut().for_each(|caller| {
        caller.pending();
    });
    while let Some(caller) = callers.pop() {
        assert_eq!((dropped.get(), reducer.in_flight()), (0, 1));
        drop(caller);
    }
    assert_eq!((dropped.get(), reducer.in_flight()), (1, 0));
    assert_eq!(runs("abandoned"), 1);
}

#[reduceable(key = id)]
async fn slow_to_go(
    id: u64,
    slow: Option<SlowDrop>,
    _guard: DropCounts,
    gate: &Gate,
    gone: &Count,
) -> (u64, usize) {
    count_run("slow_to_go");
    if slow.is_some() {
        std::future::pending::<()>().await;
    }
    gate.pass().await;
    (id, gone.get())
}

#[test]
fn calls_during_the_last_ones_exit_wait_for_it_with_their_work() {
    let (gate, gone, dropped) = (Gate::new(), Count::new(), Count::new());
    let (slow, has_begun, end) = SlowDrop::new(gone.clone());
    let call = |slow| ByHand::new(slow_to_go(1, slow, DropCounts(dropped.clone()), &gate, &gone));
    let mut first = call(Some(slow));
    first.pending();
    thread::scope(|threads| {
        // Gone if this panics, so that nobody waits for it.
        let end = end;
        threads.spawn(move || drop(first));
        has_begun.recv().unwrap();
        let mut waiting = [(); 3].map(|()| call(None));
        for call in &mut waiting {
            call.pending();
        }
        let [mut leads, mut joins, leaves] = waiting;
        drop(leaves);
        assert_eq!(dropped.get(), 2, "the first one's, and what was to be work");
        end.send(()).unwrap();
        for call in [&mut leads, &mut joins] {
            while !call.is_woken() {
                thread::yield_now();
            }
            call.pending();
        }
        assert_eq!(dropped.get(), 3, "and what the one who joins does not need");
        gate.open();
        let outcomes = settle(&mut [leads, joins]);
        assert_eq!(outcomes, [Some((1, 1)); 2], "the old work was gone when the new began");
    });
    assert_eq!((dropped.get(), runs("slow_to_go")), (4, 2));
}

#[reduceable(key = id)]
async fn slow_to_go_then_panics(id: u64, slow: Option<SlowDrop>) -> u64 {
    if slow.is_some() {
        std::future::pending::<()>().await;
    }
    panic!("no disk {id}")
}

#[test]
fn work_that_panics_after_it_has_waited_for_the_exit_of_another_panics_in_its_call() {
    let (slow, has_begun, end) = SlowDrop::new(Count::new());
    let mut first = ByHand::new(slow_to_go_then_panics(3, Some(slow)));
    first.pending();
    thread::scope(|threads| {
        let end = end;
        threads.spawn(move || drop(first));
        has_begun.recv().unwrap();
        let mut waits = ByHand::new(slow_to_go_then_panics(3, None));
        waits.pending();
        end.send(()).unwrap();
        while !waits.is_woken() {
            thread::yield_now();
        }
        assert_eq!(panics(|| waits.poll()), "no disk 3");
    });
}

#[reduceable(skip(slow, gone))]
async fn slow_to_go_by_name(name: &str, slow: Option<SlowDrop>, gone: &Count) -> (String, usize) {
    if slow.is_some() {
        std::future::pending::<()>().await;
    }
    (name.to_owned(), gone.get())
}

#[test]
fn a_call_during_the_last_ones_exit_is_lent_the_key_of_the_flight_that_it_leads_then() {
    let gone = Count::new();
    let (slow, has_begun, end) = SlowDrop::new(gone.clone());
    let call = |slow| ByHand::new(slow_to_go_by_name("a name", slow, &gone));
    let mut first = call(Some(slow));
    first.pending();
    thread::scope(|threads| {
        let end = end;
        threads.spawn(move || drop(first));
        has_begun.recv().unwrap();
        let mut waits = call(None);
        waits.pending();
        end.send(()).unwrap();
        while !waits.is_woken() {
            thread::yield_now();
        }
        assert_eq!(waits.ready(), ("a name".to_owned(), 1));
    });
}

#[test]
fn a_call_that_is_never_polled_does_nothing() {
    #[reduceable]
    async fn unpolled(id: u64) -> u64 {
        count_run("unpolled");
        id
    }
    drop(unpolled(1));
    assert_eq!(runs("unpolled"), 0);
}

#[test]
fn a_panic_is_everybodys_and_the_next_call_starts_afresh() {
    #[reduceable(key = id)]
    async fn fragile(id: u64, gate: &Gate) -> u64 {
        count_run("fragile");
        gate.pass().await;
        panic!("no disk {id}")
    }
    let gate = Gate::new();
    let mut callers: Vec<_> = (0..3).map(|_| ByHand::new(fragile(1, &gate))).collect();
    callers.iter_mut().for_each(|caller| {
        caller.pending();
    });
    gate.open();
    for caller in &mut callers {
        assert_eq!(panics(|| caller.poll()), "no disk 1");
    }
    assert_eq!(runs("fragile"), 1);
    ByHand::new(fragile(1, &gate)).pending();
    assert_eq!(runs("fragile"), 2);
}

/// The copies that the work gets are made when the flight is in the air already.
#[test]
fn a_clone_that_panics_is_work_that_panics() {
    type Call = ByHand<Pin<Box<dyn Future<Output = u64> + Send>>>;
    static FOLLOWER: Mutex<Option<Call>> = Mutex::new(None);
    static BOMB: Bomb = Bomb(AtomicBool::new(true));

    struct Bomb(AtomicBool);
    impl Clone for Bomb {
        fn clone(&self) -> Self {
            if self.0.swap(false, SeqCst) {
                let follower = thread::spawn(|| {
                    let mut call = call();
                    call.pending();
                    call
                });
                *FOLLOWER.lock().unwrap() = Some(follower.join().unwrap());
                panic!("there is no copy");
            }
            Self(AtomicBool::new(false))
        }
    }
    #[reduceable(skip(bomb))]
    async fn copied(id: u64, bomb: &Bomb) -> u64 {
        id + u64::from(bomb.0.load(SeqCst))
    }
    fn call() -> Call {
        ByHand::new(Box::pin(copied(1, &BOMB)))
    }
    assert!(panics(|| call().poll()).contains("there is no copy"));
    let mut follower = FOLLOWER.lock().unwrap().take().expect("it has joined");
    assert!(panics(|| follower.poll()).contains("there is no copy"));
    assert_eq!(call().ready(), 1);
}

#[test]
fn an_error_is_everybodys_and_is_not_tried_again_by_each() {
    #[reduceable(key = id)]
    async fn failing(id: u64, gate: &Gate) -> Result<u64, String> {
        count_run("failing");
        gate.pass().await;
        Err(format!("no row {id}"))
    }
    let gate = Gate::new();
    let mut callers: Vec<_> = (0..3).map(|_| ByHand::new(failing(1, &gate))).collect();
    callers.iter_mut().for_each(|caller| {
        caller.pending();
    });
    gate.open();
    assert_eq!(settle(&mut callers), vec![Some(Err("no row 1".to_owned())); 3]);
    assert_eq!(runs("failing"), 1);
}

mod within {
    use super::*;

    #[reduceable]
    pub(super) async fn ping(id: u64) -> u64 {
        count_run("ping");
        later(id).await
    }

    #[reduceable]
    async fn pong(id: u64) -> u64 {
        count_run("pong");
        ping(id).await
    }

    fn later(id: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
        Box::pin(pong(id))
    }
}

#[test]
fn a_ring_of_functions_is_told_by_their_paths() {
    let mut call = ByHand::new(within::ping(1));
    let message = panics(|| call.poll());
    let (ping, pong) = ("reduceable_flights::within::ping", "reduceable_flights::within::pong");
    assert!(message.contains("would wait on itself"), "{message}");
    assert!(message.contains(ping) && message.contains(pong), "{message}");
    assert!(!message.contains("closure"), "{message}");
    assert_eq!((runs("ping"), runs("pong")), (1, 1));
}

#[test]
fn a_function_in_a_function_has_a_name_of_its_own() {
    #[reduceable]
    async fn around(id: u64) -> u64 {
        #[reduceable]
        async fn nested(id: u64) -> u64 {
            again(id).await
        }
        fn again(id: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
            Box::pin(nested(id))
        }
        nested(id).await
    }
    let mut call = ByHand::new(around(1));
    let message = panics(|| call.poll());
    assert!(message.contains("::nested` (key"), "{message}");
}

#[test]
fn a_method_is_told_by_its_type() {
    #[derive(Clone, Hash, PartialEq, Eq)]
    struct Repository;
    impl Repository {
        #[reduceable]
        async fn load(&self, id: u64) -> u64 {
            count_run("load");
            self.again(id).await
        }

        fn again(&self, id: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
            let repository = self.clone();
            Box::pin(async move { repository.load(id).await })
        }
    }
    let message = panics(|| ByHand::new(Repository.load(1)).poll());
    assert!(message.contains("Repository") && message.contains("load"), "{message}");
    assert_eq!(runs("load"), 1);
}
