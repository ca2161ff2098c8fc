//! Law 8. Work that awaits its own key, directly or round a ring, is told so instead of hanging.

use std::collections::HashSet;
use std::sync::Barrier;
use std::time::Duration;

use reducer_core::{ReduceError, Reduced, Reducer, reduceable};
use reducer_tests::{ByHand, Gate, panics};

fn ring_of<V: std::fmt::Debug>(outcome: Result<Reduced<V>, ReduceError>) -> usize {
    let Err(ReduceError::Reentrant(ring)) = outcome else { panic!("not a ring: {outcome:?}") };
    assert!(ring.to_string().contains("wait on itself"), "{ring}");
    assert_eq!(ring.ring().next(), ring.ring().last());
    // Each flight of the ring has a name of its own.
    let names: HashSet<_> = ring.ring().collect();
    assert_eq!(names.len(), ring.ring().count() - 1, "{ring}");
    ring.ring().count() - 1
}

#[test]
fn work_that_awaits_its_own_key_is_told() {
    let reducer = Reducer::new();
    let inner = reducer.clone();
    let mut call = ByHand::new(
        reducer.reduce(1, async move { ring_of(inner.try_reduce(1, async { 0usize }).await) }),
    );
    assert_eq!(call.ready(), 1);
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn reduce_panics_with_the_ring_and_the_panic_lands() {
    let reducer = Reducer::new();
    let inner = reducer.clone();
    let mut call = ByHand::new(reducer.reduce(1, async move { inner.reduce(1, async {}).await }));
    let message = panics(|| call.poll());
    assert!(message.starts_with("this call would wait on itself"), "{message}");
    assert_eq!(reducer.in_flight(), 0);
}

/// What builds the work of a flight runs inside of it, and so inside of the flight around.
#[test]
fn what_builds_work_is_told_if_it_calls_for_a_flight_around() {
    let reducer = Reducer::new();
    let (led, around) = (reducer.clone(), reducer.clone());
    let mut call = ByHand::new(reducer.reduce("a", async move {
        let build = move || {
            let ring = ring_of(ByHand::new(around.try_reduce("a", async { 0usize })).ready());
            async move { ring }
        };
        led.reduce_with("b", build).await
    }));
    assert_eq!(call.ready(), 2);
}

/// So does a `Clone` of what is borrowed.
#[test]
fn a_clone_for_the_work_is_told_if_it_calls_for_a_flight_around() {
    struct Calls(bool);
    impl Clone for Calls {
        fn clone(&self) -> Self {
            if self.0 {
                let message = panics(|| ByHand::new(outer(1, &Self(false))).ready());
                assert!(message.starts_with("this call would wait on itself"), "{message}");
            }
            Self(false)
        }
    }
    #[reduceable(key = n)]
    async fn outer(n: u64, calls: &Calls) -> u64 {
        assert!(!calls.0);
        n + inner("x", &Calls(true)).await
    }
    #[reduceable(skip(calls))]
    async fn inner(name: &str, calls: &Calls) -> u64 {
        assert!(name == "x" && !calls.0);
        2
    }
    assert_eq!(ByHand::new(outer(1, &Calls(false))).ready(), 3);
}

/// a -> b -> c -> a, in one task: each is led inside the one before.
#[test]
fn a_ring_of_three_keys_in_one_task_is_found() {
    let reducer = Reducer::new();
    let (r1, r2, r3) = (reducer.clone(), reducer.clone(), reducer.clone());
    let mut call = ByHand::new(reducer.reduce("a", async move {
        r1.reduce("b", async move {
            r2.reduce("c", async move { ring_of(r3.try_reduce("a", async { 0usize }).await) }).await
        })
        .await
    }));
    assert_eq!(call.ready(), 3);
}

/// a -> b and b -> a, each led by a task of its own before it calls for the other.
#[test]
fn a_ring_across_tasks_is_found_by_who_closes_it() {
    let reducer = Reducer::new();
    let side = |mine: &'static str, other: &'static str, gate: &Gate| {
        let (inner, gate) = (reducer.clone(), gate.clone());
        ByHand::new(reducer.try_reduce(mine, async move {
            gate.pass().await;
            match inner.try_reduce(other, async { 0usize }).await {
                Ok(done) => done.value + 10,
                ring => ring_of(ring),
            }
        }))
    };
    let (gate_a, gate_b) = (Gate::new(), Gate::new());
    let (mut a, mut b) = (side("a", "b", &gate_a), side("b", "a", &gate_b));
    a.pending();
    b.pending();
    gate_a.open();
    a.pending(); // now it waits on b
    gate_b.open();
    assert_eq!(b.ready().unwrap().value, 2, "b closes the ring and is told");
    assert!(a.is_woken());
    assert_eq!(a.ready().unwrap().value, 12, "a gets what b made of it");
}

#[test]
fn a_ring_of_threads_is_found() {
    let reducer = Reducer::new();
    let both_lead = Barrier::new(2);
    let side = |mine: &'static str, other: &'static str| {
        reducer.reduce_blocking(mine, || {
            both_lead.wait();
            reducer
                .try_reduce_blocking(other, || 0usize)
                .map_or_else(|error| ring_of::<usize>(Err(error)), |done| done.value)
        })
    };
    let (a, b) = std::thread::scope(|threads| {
        let a = threads.spawn(|| side("a", "b"));
        (side("b", "a"), a.join().unwrap())
    });
    assert_eq!((a, b), (2, 2));
}

#[test]
fn a_thread_that_calls_for_its_own_key_is_told() {
    let reducer = Reducer::new();
    let found = reducer.reduce_blocking(1, || ring_of(reducer.try_reduce_blocking(1, || 0usize)));
    assert_eq!(found, 1);
}

#[test]
fn a_ring_through_block_on_is_found() {
    let reducer = Reducer::new();
    let inner = reducer.clone();
    let found = reducer.reduce_blocking(1, move || {
        pollster::block_on(inner.reduce(2, {
            let inner = inner.clone();
            async move { ring_of(inner.try_reduce(1, async { 0usize }).await) }
        }))
    });
    assert_eq!(found, 2);
}

#[test]
fn a_caller_first_polled_outside_and_then_awaited_inside_is_seen() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut outer = ByHand::new(reducer.reduce(1, {
        let reducer = reducer.clone();
        let gate = gate.clone();
        async move {
            gate.pass().await;
            let mut own = Box::pin(reducer.try_reduce(1, async { 0usize }));
            // Polled in a thread that runs no flight: it joins, and nobody can see a ring yet.
            std::thread::scope(|threads| {
                threads.spawn(|| {
                    let mut task = ByHand::new(own.as_mut());
                    task.pending();
                });
            });
            ring_of(own.await)
        }
    }));
    outer.pending();
    gate.open();
    assert_eq!(outer.ready(), 1);
}

#[test]
fn calls_inside_calls_without_a_ring_are_fine() {
    let reducer = Reducer::new();
    let (r1, r2) = (reducer.clone(), reducer.clone());
    let mut call = ByHand::new(reducer.reduce(3, async move {
        let two = r1.reduce(2, async move { r2.reduce(1, async { 1 }).await + 1 }).await;
        // The same again: what has landed leaves no edge.
        two + r1.reduce(2, async { 0 }).await + 1
    }));
    assert_eq!(call.ready(), 3);
}

#[test]
fn two_that_wait_on_a_third_are_no_ring() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let caller = |key: u32| {
        let (inner, gate) = (reducer.clone(), gate.clone());
        ByHand::new(reducer.reduce(key, async move { inner.reduce(0u32, gate.pass()).await }))
    };
    let (mut a, mut b) = (caller(1), caller(2));
    a.pending();
    b.pending();
    gate.open();
    a.ready();
    b.ready();
}

/// What cannot be seen: a hop through `tokio::spawn`. It hangs like any two tasks that await each other;
/// a `timeout` ends it.
#[tokio::test(start_paused = true)]
async fn a_ring_through_spawn_is_not_seen_and_a_timeout_ends_it() {
    let reducer = Reducer::builder().timeout(Duration::from_secs(1)).build();
    let inner = reducer.clone();
    let outcome = reducer
        .try_reduce(1, async move {
            let hop = tokio::spawn(async move { inner.try_reduce(1, async {}).await.map(drop) });
            let _ = hop.await;
        })
        .await;
    assert!(matches!(outcome, Err(ReduceError::TimedOut(_))), "{outcome:?}");
}
