//! Law 2. A hash alone never decides. Different key types, value types or reducers never meet either.

use std::hash::{Hash, Hasher};

use reducer_core::Reducer;
use reducer_tests::{ByHand, Count, Gate, never_runs, settle};

/// Every value hashes alike, as -1 and -2 do in Python.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Colliding(i64);

impl Hash for Colliding {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[test]
fn minus_one_and_minus_two_get_their_own_answers() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let call = |n| {
        let gate = gate.clone();
        ByHand::new(reducer.reduce(Colliding(n), async move {
            gate.pass().await;
            n
        }))
    };
    let mut tasks = [call(-1), call(-2), call(-1), call(-2)];
    for task in &mut tasks {
        task.pending();
    }
    assert_eq!(reducer.in_flight(), 2);
    gate.open();
    gate.open();
    assert_eq!(settle(&mut tasks), [Some(-1), Some(-2), Some(-1), Some(-2)]);
}

#[test]
fn a_thousand_colliding_keys_each_keep_their_own_answer() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut tasks: Vec<_> = (0..1000)
        .flat_map(|n| [n, n])
        .map(|n| {
            let gate = gate.clone();
            ByHand::new(reducer.reduce(Colliding(n), async move {
                gate.pass().await;
                n
            }))
        })
        .collect();
    for task in &mut tasks {
        task.pending();
    }
    assert_eq!(reducer.in_flight(), 1000);
    for _ in 0..1000 {
        gate.open();
    }
    for (at, outcome) in settle(&mut tasks).into_iter().enumerate() {
        assert_eq!(outcome, Some(at as i64 / 2));
    }
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn parts_of_a_key_do_not_run_into_each_other() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut a = ByHand::new(reducer.reduce(("ab", "c"), gate.pass()));
    let mut b = ByHand::new(reducer.reduce(("a", "bc"), gate.pass()));
    a.pending();
    b.pending();
    assert_eq!(reducer.in_flight(), 2);
}

#[test]
fn different_key_types_never_meet() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut a = ByHand::new(reducer.reduce(1u32, gate.pass()));
    let mut b = ByHand::new(reducer.reduce(1i32, gate.pass()));
    a.pending();
    b.pending();
    assert_eq!(reducer.in_flight(), 2);
    assert!(reducer.is_in_flight(&1u32) && !reducer.is_in_flight(&1u64));
}

#[test]
fn different_value_types_never_meet() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let (one, other) = (gate.clone(), gate.clone());
    let mut number = ByHand::new(reducer.reduce(1, async move {
        one.pass().await;
        1u8
    }));
    let mut text = ByHand::new(reducer.reduce(1, async move {
        other.pass().await;
        "one"
    }));
    number.pending();
    text.pending();
    gate.open();
    gate.open();
    assert_eq!((number.ready(), text.ready()), (1, "one"));
}

#[test]
fn different_reducers_never_meet() {
    let (one, other) = (Reducer::new(), Reducer::new());
    let gate = Gate::new();
    let mut a = ByHand::new(one.reduce(1, gate.pass()));
    let mut b = ByHand::new(other.reduce(1, gate.pass()));
    a.pending();
    b.pending();
    assert_eq!((one.in_flight(), other.in_flight()), (1, 1));
}

#[test]
fn each_wrap_is_a_namespace_of_its_own() {
    let reducer = Reducer::new();
    let runs = Count::new();
    let gate = Gate::new();
    let double = reducer.wrap({
        let (runs, gate) = (runs.clone(), gate.clone());
        move |n: i32| {
            let (runs, gate) = (runs.clone(), gate.clone());
            async move {
                runs.add();
                gate.pass().await;
                n * 2
            }
        }
    });
    let triple = reducer.wrap(|n: i32| async move { n * 3 });
    let mut doubles = [ByHand::new(double(7)), ByHand::new(double(7)), ByHand::new(double(8))];
    for task in &mut doubles {
        task.pending();
    }
    assert_eq!(ByHand::new(triple(7)).ready(), 21);
    gate.open();
    gate.open();
    assert_eq!(settle(&mut doubles), [Some(14), Some(14), Some(16)]);
    assert_eq!(runs.get(), 2);
}

#[test]
fn a_borrowed_key_finds_the_flight_of_an_owned_one_and_the_other_way_round() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut lead = ByHand::new(reducer.reduce(String::from("host"), gate.pass()));
    let mut follow = ByHand::new(reducer.reduce_by_ref("host", never_runs::<()>()));
    lead.pending();
    follow.pending();
    gate.open();
    lead.ready();
    follow.ready();

    let mut lead = ByHand::new(reducer.reduce_by_ref("host", gate.pass()));
    let mut follow = ByHand::new(reducer.reduce(String::from("host"), never_runs::<()>()));
    lead.pending();
    follow.pending();
    gate.open();
    lead.ready();
    follow.ready();
}

#[test]
fn a_key_that_changes_in_flight_leaves_no_row_behind() {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

    #[derive(Clone, Debug)]
    struct Moody(Arc<AtomicU64>);
    impl Hash for Moody {
        fn hash<H: Hasher>(&self, state: &mut H) {
            self.0.load(SeqCst).hash(state);
        }
    }
    impl PartialEq for Moody {
        fn eq(&self, other: &Self) -> bool {
            self.0.load(SeqCst) == other.0.load(SeqCst)
        }
    }
    impl Eq for Moody {}

    let reducer = Reducer::new();
    let gate = Gate::new();
    let mood = Arc::new(AtomicU64::new(1));
    let mut call = ByHand::new(reducer.reduce(Moody(Arc::clone(&mood)), gate.pass()));
    call.pending();
    mood.store(2, SeqCst);
    gate.open();
    call.ready();
    assert_eq!(reducer.in_flight(), 0);
}
