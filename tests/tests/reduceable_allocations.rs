//! `#[reduceable]` and the heap. In a file of its own, for its allocator is the whole program's.
#![deny(warnings)]

use std::pin::pin;
use std::task::{Context, Waker};

use reducer_core::{Reducer, reduceable};
use reducer_tests::allocations::{Counting, allocations};
use reducer_tests::{Count, Gate};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[reduceable(reducer = reducer, skip(reducer, runs))]
async fn by_number(reducer: &'static Reducer, runs: &Count, id: u64, page: u32) -> u64 {
    runs.add();
    id + u64::from(page)
}

#[reduceable(reducer = reducer, skip(reducer, runs, gate))]
async fn by_name(
    reducer: &'static Reducer,
    runs: &Count,
    gate: &Gate,
    name: &str,
    tags: Option<&[u8]>,
    owned: String,
) -> usize {
    runs.add();
    gate.pass().await;
    name.len() + tags.map_or(0, <[u8]>::len) + owned.len()
}

#[reduceable(reducer = reducer, skip(reducer))]
async fn length(reducer: &'static Reducer, name: &str) -> usize {
    name.len()
}

fn leaked() -> &'static Reducer {
    Box::leak(Box::new(Reducer::new()))
}

#[test]
fn the_leader_of_a_copy_key_allocates_once() {
    let (reducer, runs) = (leaked(), Count::new());
    let mut cx = Context::from_waker(Waker::noop());
    // The table's own room is there after the first call of each shard.
    for id in 0..1000 {
        assert!(pin!(by_number(reducer, &runs, id, 1)).poll(&mut cx).is_ready());
    }
    let (allocated, done) = allocations(|| pin!(by_number(reducer, &runs, 7, 1)).poll(&mut cx));
    assert!(done.is_ready());
    assert_eq!((allocated, runs.get()), (1, 1001));
}

#[test]
fn a_call_that_joins_allocates_nothing() {
    let (reducer, runs, gate) = (leaked(), Count::new(), Gate::new());
    let mut cx = Context::from_waker(Waker::noop());
    let call = |owned| by_name(reducer, &runs, &gate, "a name", Some(&[1, 2]), owned);
    let owned = [(); 4].map(|()| String::from("owned"));
    let [a, b, c, d] = owned;
    let mut leader = pin!(call(a));
    assert!(leader.as_mut().poll(&mut cx).is_pending());
    let mut second = pin!(call(b));
    let (allocated, joined) = allocations(|| second.as_mut().poll(&mut cx));
    assert!(joined.is_pending());
    assert_eq!(allocated, 0, "the first that joins");
    let (allocated, ()) = allocations(|| {
        let mut third = pin!(call(c));
        assert!(third.as_mut().poll(&mut cx).is_pending());
    });
    assert_eq!(allocated, 0, "a join that leaves again");
    let mut fourth = pin!(call(d));
    let (allocated, joined) = allocations(|| fourth.as_mut().poll(&mut cx));
    assert!(joined.is_pending());
    assert_eq!(allocated, 0, "a join that stays");
    gate.open();
    assert!(leader.as_mut().poll(&mut cx).is_ready());
    let (allocated, done) = allocations(|| fourth.as_mut().poll(&mut cx));
    assert!(done.is_ready());
    assert_eq!((allocated, runs.get()), (0, 1));
}

#[test]
fn the_leader_of_a_borrowed_key_allocates_for_the_flight_and_for_the_key() {
    let reducer = leaked();
    let mut cx = Context::from_waker(Waker::noop());
    let names: Vec<String> = (0..1000).map(|name| format!("{name:036}")).collect();
    for name in &names {
        assert!(pin!(length(reducer, name)).poll(&mut cx).is_ready());
    }
    let (allocated, done) = allocations(|| pin!(length(reducer, &names[7])).poll(&mut cx));
    assert!(done.is_ready());
    assert_eq!(allocated, 2, "the body borrows from the key");
}
