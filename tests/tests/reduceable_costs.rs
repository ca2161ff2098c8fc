//! `#[reduceable]` and what a call that joins may cost: no copy of any argument, and a small future.
#![deny(warnings)]

use std::hash::{Hash, Hasher};
use std::sync::LazyLock;

use reducer_core::{Reducer, SharedError, reduceable};
use reducer_tests::{ByHand, Count, Gate, count_run, runs, settle};

/// Counts its clones.
#[derive(Debug)]
struct Counted(u64, Count);

impl Clone for Counted {
    fn clone(&self) -> Self {
        self.1.add();
        Self(self.0, self.1.clone())
    }
}

impl Hash for Counted {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl PartialEq for Counted {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Counted {}

#[reduceable(skip(skipped, gate))]
async fn copied(a: &Counted, b: Option<&Counted>, skipped: &Counted, gate: &Gate) -> u64 {
    count_run("copied");
    gate.pass().await;
    a.0 + b.map_or(0, |b| b.0) + skipped.0
}

#[reduceable(skip(gate))]
async fn moved(a: Counted, gate: Gate) -> u64 {
    count_run("moved");
    gate.pass().await;
    a.0
}

static GATE: LazyLock<Gate> = LazyLock::new(Gate::new);

#[reduceable]
async fn all_in_the_key(a: Counted, n: u64) -> u64 {
    count_run("all_in_the_key");
    GATE.pass().await;
    a.0 + n
}

/// Of one leader, then of three followers.
fn clones<F: Future<Output = u64>>(call: impl Fn(&Count) -> F, gate: &Gate) -> (usize, usize) {
    let (of_leader, of_followers) = (Count::new(), Count::new());
    let mut callers = vec![ByHand::new(call(&of_leader))];
    callers[0].pending();
    for _ in 0..3 {
        let mut follower = ByHand::new(call(&of_followers));
        follower.pending();
        callers.push(follower);
    }
    gate.open();
    assert!(settle(&mut callers).iter().all(Option::is_some));
    (of_leader.get(), of_followers.get())
}

#[test]
fn only_the_call_that_leads_copies_its_arguments() {
    let gate = Gate::new();
    let call = |clones: &Count| {
        let (clones, gate) = (clones.clone(), gate.clone());
        async move {
            let [a, b, c] = [1, 2, 3].map(|n| Counted(n, clones.clone()));
            copied(&a, Some(&b), &c, &gate).await
        }
    };
    // Of what it borrows: one for the key, which lends it to the body; of what is skipped, one for the body.
    assert_eq!(clones(call, &gate), (3, 0));
    // What it owns is moved into the body.
    assert_eq!(clones(|clones| moved(Counted(1, clones.clone()), gate.clone()), &gate), (1, 0));
    let call = |clones: &Count| all_in_the_key(Counted(1, clones.clone()), 2);
    assert_eq!(clones(call, &GATE), (1, 0));
    assert_eq!((runs("copied"), runs("moved"), runs("all_in_the_key")), (1, 1, 1));
}

#[test]
fn a_blocking_body_borrows_and_only_the_key_is_copied() {
    #[reduceable(skip(skipped))]
    fn blocking(a: &Counted, skipped: &Counted) -> u64 {
        count_run("blocking");
        a.0 + skipped.0
    }
    let clones = Count::new();
    assert_eq!(blocking(&Counted(1, clones.clone()), &Counted(2, clones.clone())), 3);
    assert_eq!((clones.get(), runs("blocking")), (1, 1));
}

#[reduceable]
async fn large(id: u64, name: &str) -> usize {
    count_run("large");
    let buffer = [id as u8; 16 * 1024];
    tokio::task::yield_now().await;
    buffer.len() + name.len()
}

#[reduceable]
async fn three_strings(a: String, b: String, c: String) -> usize {
    count_run("three_strings");
    tokio::task::yield_now().await;
    a.len() + b.len() + c.len()
}

#[derive(Clone)]
struct Repository {
    reducer: Reducer,
}

impl Repository {
    #[reduceable(reducer = self.reducer)]
    async fn load(&self, id: u64) -> usize {
        count_run("load");
        let buffer = [id as u8; 16 * 1024];
        tokio::task::yield_now().await;
        buffer.len()
    }
}

#[reduceable(timeout = "2s", detached)]
async fn on_terms(id: u64, name: &str) -> Result<usize, SharedError> {
    count_run("on_terms");
    let buffer = [id as u8; 16 * 1024];
    tokio::task::yield_now().await;
    Ok(buffer.len() + name.len())
}

fn size_of_sendable<F: Future + Send>(future: &F) -> usize {
    size_of_val(future)
}

#[test]
fn the_future_of_a_call_is_small_whatever_the_body_holds() {
    let repository = Repository { reducer: Reducer::new() };
    let sizes = [
        size_of_sendable(&large(1, "x")),
        size_of_sendable(&three_strings("a".into(), "b".into(), "c".into())),
        size_of_sendable(&repository.load(1)),
        size_of_sendable(&on_terms(1, "x")),
    ];
    println!("{sizes:?}");
    // Feature `tracing` is on in these tests, and takes the pointer to a span.
    let span = size_of::<usize>();
    assert!(sizes.iter().all(|size| *size - span < 256), "{sizes:?}");
    assert_eq!(["large", "three_strings", "load", "on_terms"].map(runs), [0; 4]);
}

/// Neither does it keep a second place for what has no destructor.
#[test]
fn a_moved_argument_is_once_in_the_future() {
    #[reduceable(key = id)]
    async fn large(id: u64, numbers: [u64; 64]) -> u64 {
        numbers[0] + id
    }
    let call = large(1, [2; 64]);
    let size = size_of_val(&call);
    assert!(size < 2 * size_of::<[u64; 64]>(), "{size} bytes");
    assert_eq!(ByHand::new(call).ready(), 3);
}

/// Nor one for what the key borrows.
#[test]
fn a_number_or_a_reference_in_the_key_is_once_in_the_future() {
    #[reduceable]
    async fn nothing() -> u64 {
        0
    }
    #[reduceable]
    async fn number(id: u64) -> u64 {
        id
    }
    #[reduceable(key = (id, name.len()))]
    async fn both(id: u64, name: &str) -> u64 {
        id + name.len() as u64
    }
    let nothing = size_of_val(&nothing());
    assert_eq!(size_of_val(&number(1)), nothing + size_of::<u64>());
    assert_eq!(size_of_val(&both(1, "")), nothing + size_of::<(u64, &str)>());
}

mod id {
    use std::borrow::Borrow;

    /// Behind a reference, a number that is not copied by whoever has it.
    #[derive(Debug, PartialEq, Eq, Hash)]
    pub(super) struct Id(pub(super) u64);

    impl Borrow<Id> for u64 {
        fn borrow(&self) -> &Id {
            Box::leak(Box::new(Id(*self)))
        }
    }

    impl ToOwned for Id {
        type Owned = u64;

        fn to_owned(&self) -> u64 {
            super::count_run("to_owned");
            self.0
        }
    }
}

#[test]
fn who_joins_owns_no_key_of_a_type_that_counts() {
    #[reduceable(key = (id, page))]
    async fn by_id(id: &id::Id, page: u64) -> u64 {
        std::future::pending::<()>().await;
        id.0 + page
    }
    let id = id::Id(1);
    let mut calls = [(); 4].map(|()| ByHand::new(by_id(&id, 1)));
    calls.iter_mut().for_each(|call| {
        call.pending();
    });
    // For the key, and for the work.
    assert_eq!(runs("to_owned"), 2);
}
