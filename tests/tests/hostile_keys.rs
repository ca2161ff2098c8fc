//! Keys that an enemy chooses, and keys that are badly made: what they can cost, and whom.
//!
//! The bound: a call asks `Eq` at most once of every flight in the air with the same full hash, of none with
//! another, and under no lock. Who has no two keys with one hash asks it once to join, and never to lead.

use std::cell::Cell;
use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread;

use reducer_core::{Reducer, reduceable};
use reducer_tests::{ByHand, Count, Gate, never_runs, settle};

thread_local! {
    /// What keys were asked on this thread: `Hash`, `Eq`, `Clone`.
    static ASKED: Cell<[usize; 3]> = const { Cell::new([0; 3]) };
}

fn ask(what: usize) {
    let mut asked = ASKED.get();
    asked[what] += 1;
    ASKED.set(asked);
}

/// What keys are asked meanwhile: `Hash`, `Eq`, `Clone`.
fn asked<T>(act: impl FnOnce() -> T) -> [usize; 3] {
    ASKED.set([0; 3]);
    act();
    ASKED.get()
}

/// A key that counts, and whose hash is what its maker says.
#[derive(Debug)]
struct Chosen {
    hash: u64,
    id: usize,
}

impl Chosen {
    fn colliding(id: usize) -> Self {
        Self { hash: 0, id }
    }

    fn decent(id: usize) -> Self {
        Self { hash: id as u64, id }
    }
}

impl Hash for Chosen {
    fn hash<H: Hasher>(&self, state: &mut H) {
        ask(0);
        state.write_u64(self.hash);
    }
}

impl PartialEq for Chosen {
    fn eq(&self, other: &Self) -> bool {
        ask(1);
        self.id == other.id
    }
}

impl Eq for Chosen {}

impl Clone for Chosen {
    fn clone(&self) -> Self {
        ask(2);
        Self { ..*self }
    }
}

async fn after(gate: Gate, id: usize) -> usize {
    gate.pass().await;
    id
}

#[test]
fn thousands_of_colliding_keys_keep_their_answers_and_a_call_asks_each_of_them_once_at_most() {
    const KEYS: usize = if cfg!(debug_assertions) { 1_000 } else { 4_000 };
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut calls = Vec::new();
    // All of them, then some again.
    for (twin, every) in [1, 20].into_iter().enumerate() {
        for id in (0..KEYS).step_by(every) {
            let mut call =
                ByHand::new(reducer.reduce(Chosen::colliding(id), after(gate.clone(), id)));
            let [hashed, compared, cloned] = asked(|| {
                call.pending();
            });
            let in_the_air = if twin == 0 { id } else { KEYS };
            assert!(compared <= in_the_air, "{compared} comparisons among {in_the_air}");
            assert_eq!((hashed, cloned), (1, 0));
            calls.push(call);
        }
    }
    assert_eq!(reducer.in_flight(), KEYS);

    // Nobody else pays.
    let mut decent = ByHand::new(reducer.reduce(Chosen::decent(1), after(gate.clone(), 1)));
    assert_eq!(
        asked(|| {
            decent.pending();
        }),
        [1, 0, 0]
    );
    drop(decent);

    // Nor does it cost more to ask, or to land.
    for ask in [Reducer::is_in_flight, Reducer::forget] {
        let [_, compared, _] = asked(|| ask(&reducer, &Chosen::colliding(KEYS)));
        assert!(compared <= KEYS, "{compared}");
    }
    (0..KEYS).for_each(|_| gate.open());
    let mut values = Vec::new();
    let while_landing = asked(|| values = settle(&mut calls));
    assert_eq!(while_landing, [0; 3]);
    let expected = (0..KEYS).chain((0..KEYS).step_by(20)).map(Some);
    assert!(values.into_iter().eq(expected));
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn decent_keys_are_compared_once_to_join_and_never_to_lead() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut calls = Vec::new();
    for compared in [0, 1] {
        for id in 0..1_000 {
            let mut call = ByHand::new(reducer.reduce(Chosen::decent(id), after(gate.clone(), id)));
            let asked = asked(|| {
                call.pending();
            });
            assert_eq!(asked, [1, compared, 0]);
            calls.push(call);
        }
    }
    assert_eq!(reducer.in_flight(), 1_000);
}

/// A megabyte, which counts like `Chosen`. What is borrowed of it is the same.
#[derive(Debug, Hash, PartialEq, Eq, Clone)]
struct Large(Chosen, Vec<u8>);

#[reduceable(skip(gate))]
async fn borrowed(key: &Large, gate: &Gate) -> usize {
    gate.pass().await;
    key.1.len()
}

#[test]
fn a_key_of_a_megabyte_is_hashed_once_a_call_and_copied_only_by_a_leader_who_lent_it() {
    let large = Large(Chosen::decent(1), vec![7; 1 << 20]);
    let reducer = Reducer::new();
    let gate = Gate::new();

    // Given: moved into the flight.
    let given = large.clone();
    let mut lead = ByHand::new(reducer.reduce(given, after(gate.clone(), 1)));
    assert_eq!(asked(|| lead.poll().is_pending()), [1, 0, 0]);
    // Lent, and somebody leads already.
    let mut follow = ByHand::new(reducer.reduce_by_ref(&large, never_runs::<usize>()));
    assert_eq!(asked(|| follow.poll().is_pending()), [1, 1, 0]);
    gate.open();
    assert_eq!(asked(|| (lead.ready(), follow.ready())), [0, 0, 0]);

    // Lent to lead.
    let mut lead = ByHand::new(reducer.reduce_by_ref(&large, after(gate.clone(), 1)));
    assert_eq!(asked(|| lead.poll().is_pending()), [1, 0, 1]);
    gate.open();
    lead.ready();

    // The same through the attribute: the flight has one copy, and the body reads another or the same.
    let mut lead = ByHand::new(borrowed(&large, &gate));
    let [hashed, compared, cloned] = asked(|| lead.poll().is_pending());
    assert!(hashed == 1 && compared == 0 && cloned <= 2, "{hashed} {compared} {cloned}");
    let mut follow = ByHand::new(borrowed(&large, &gate));
    assert_eq!(asked(|| follow.poll().is_pending()), [1, 1, 0]);
    gate.open();
    assert_eq!((lead.ready(), follow.ready()), (1 << 20, 1 << 20));
}

/// A key whose comparison takes as long as its maker likes, if it is asked on the thread that says so.
#[derive(Debug)]
struct Slow(u32, Arc<Pace>);

#[derive(Debug)]
struct Pace {
    begun: Sender<()>,
    may_end: Mutex<Receiver<()>>,
}

thread_local! {
    static IS_SLOW: Cell<bool> = const { Cell::new(false) };
}

impl Hash for Slow {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl PartialEq for Slow {
    fn eq(&self, other: &Self) -> bool {
        if IS_SLOW.get() {
            self.1.begun.send(()).unwrap();
            self.1.may_end.lock().unwrap().recv().unwrap();
        }
        self.0 == other.0
    }
}

impl Eq for Slow {}

#[test]
fn a_key_that_is_slow_to_compare_blocks_nobody_else() {
    let reducer = Reducer::new();
    let (begun, has_begun) = mpsc::channel();
    let (end, may_end) = mpsc::channel();
    let pace = Arc::new(Pace { begun, may_end: Mutex::new(may_end) });
    let key = |id| Slow(id, Arc::clone(&pace));
    let gate = Gate::new();
    let mut first = ByHand::new(reducer.reduce(key(1), after(gate.clone(), 1)));
    first.pending();
    thread::scope(|threads| {
        let slow = threads.spawn(|| {
            IS_SLOW.set(true);
            ByHand::new(reducer.reduce(key(1), async { 2usize })).ready()
        });
        has_begun.recv().unwrap();
        // It compares now. All of these meet it in the one place that colliding keys have.
        assert_eq!((reducer.in_flight(), reducer.is_in_flight(&key(2))), (1, false));
        assert_eq!(ByHand::new(reducer.reduce(key(3), async { 3 })).ready(), 3);
        assert_eq!(reducer.reduce_blocking(key(4), || 4), 4);
        let mut follow = ByHand::new(reducer.reduce(key(1), never_runs::<usize>()));
        follow.pending();
        gate.open();
        assert_eq!((first.ready(), follow.ready()), (1, 1));
        drop((first, follow));
        assert_eq!(reducer.in_flight(), 0);
        // What it looks at has landed meanwhile, and is still there to be looked at.
        end.send(()).unwrap();
        assert_eq!(slow.join().unwrap(), 2);
    });
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn keys_that_equal_nothing_not_even_themselves_never_share_and_leave_nothing() {
    #[derive(Debug, Clone, Copy)]
    struct NotANumber;
    impl Hash for NotANumber {
        fn hash<H: Hasher>(&self, _: &mut H) {}
    }
    impl PartialEq for NotANumber {
        fn eq(&self, _: &Self) -> bool {
            false
        }
    }
    impl Eq for NotANumber {}

    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut calls: Vec<_> = (0..100)
        .map(|id| ByHand::new(reducer.reduce(NotANumber, after(gate.clone(), id))))
        .collect();
    calls.iter_mut().for_each(|call| {
        call.pending();
    });
    assert_eq!(reducer.in_flight(), 100);
    assert!(!reducer.forget(&NotANumber) && !reducer.is_in_flight(&NotANumber));
    calls.truncate(50);
    (0..50).for_each(|_| gate.open());
    for (id, value) in settle(&mut calls).into_iter().enumerate() {
        assert_eq!(value, Some(id));
    }
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn a_hash_that_is_another_every_time_shares_nothing_and_leaves_nothing() {
    #[derive(Debug, PartialEq, Eq)]
    struct Fickle;
    impl Hash for Fickle {
        fn hash<H: Hasher>(&self, state: &mut H) {
            ask(0);
            state.write_usize(ASKED.get()[0]);
        }
    }
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut calls: Vec<_> =
        (0..100).map(|id| ByHand::new(reducer.reduce(Fickle, after(gate.clone(), id)))).collect();
    calls.iter_mut().for_each(|call| {
        call.pending();
    });
    (0..100).for_each(|_| gate.open());
    let answers: HashMap<_, _> = settle(&mut calls).into_iter().enumerate().collect();
    assert!(answers.iter().all(|(id, answer)| *answer == Some(*id)));
    assert_eq!(reducer.in_flight(), 0);
}

/// Two objects that hash alike and are not equal.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Tenant(u64);

impl Hash for Tenant {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

impl Tenant {
    #[reduceable(skip(gate, runs))]
    async fn secret(&self, gate: &Gate, runs: &Count) -> u64 {
        runs.add();
        gate.pass().await;
        self.0
    }
}

#[test]
fn a_method_of_unequal_selves_with_one_hash_keeps_them_apart() {
    let (gate, runs) = (Gate::new(), Count::new());
    let tenants: Vec<_> = (0..100).map(Tenant).collect();
    let mut calls: Vec<_> = tenants
        .iter()
        .chain(&tenants)
        .map(|tenant| ByHand::new(tenant.secret(&gate, &runs)))
        .collect();
    calls.iter_mut().for_each(|call| {
        call.pending();
    });
    assert_eq!(runs.get(), 100);
    (0..100).for_each(|_| gate.open());
    for (at, value) in settle(&mut calls).into_iter().enumerate() {
        assert_eq!(value, Some(at as u64 % 100));
    }
}
