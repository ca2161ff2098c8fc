//! Who leaves, who waits, and what a panic does to the rest: laws 3 to 6 of a flight.
//!
//! Calls are polled by hand here, so that each stands exactly where the story wants it.
//!
//! ```text
//! cargo run --example cancel_and_panic
//! ```

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{FutureExt, poll};
use reducer_core::{ReduceError, Reducer, Role};
use tokio::sync::Semaphore;

#[tokio::main(flavor = "current_thread")]
async fn main() {
    the_leader_leaves().await;
    a_caller_sits_on_its_future().await;
    the_last_one_leaves().await;
    the_work_panics().await;
}

/// Law 3: the flight belongs to all its callers.
async fn the_leader_leaves() {
    let (reducer, oven) = (Reducer::new(), Oven::new());
    let mut leader = Box::pin(reducer.try_reduce("bread", oven.bake()));
    let mut first = Box::pin(reducer.try_reduce("bread", oven.bake()));
    let mut second = Box::pin(reducer.try_reduce("bread", oven.bake()));
    assert!(poll!(&mut leader).is_pending());
    assert!(poll!(&mut first).is_pending());
    assert!(poll!(&mut second).is_pending());

    drop(leader);
    oven.finish();
    for follower in [first, second] {
        let bread = follower.await.expect("the work goes on without its leader");
        assert_eq!(bread.value, "bread");
        assert!(matches!(bread.role, Role::Joined));
    }
    assert_eq!(oven.started(), 1);
    println!(
        "law 3: the leader left, both followers have their bread, baked {} time",
        oven.started()
    );
}

/// Law 4: no caller can hold up another.
async fn a_caller_sits_on_its_future() {
    let (reducer, oven) = (Reducer::new(), Oven::new());
    let mut leader = Box::pin(reducer.reduce("bread", oven.bake()));
    let mut follower = Box::pin(reducer.reduce("bread", oven.bake()));
    assert!(poll!(&mut leader).is_pending());
    assert!(poll!(&mut follower).is_pending());

    // Both are held unpolled from here on, as a `select!` or a paused stream would hold them.
    oven.finish();
    let bread = reducer.reduce("bread", oven.bake()).await;
    assert_eq!(bread, "bread");
    println!("law 4: two callers sat on their futures, the third had its {bread} all the same");

    assert_eq!((leader.await, follower.await), ("bread", "bread"));
    assert_eq!(oven.started(), 1);
    println!("       and theirs was waiting for them, baked {} time", oven.started());
}

/// Law 5: when the last caller leaves, the work is dropped then and there.
async fn the_last_one_leaves() {
    let (reducer, oven) = (Reducer::new(), Oven::new());
    let mut leader = Box::pin(reducer.reduce("bread", oven.bake()));
    let mut follower = Box::pin(reducer.reduce("bread", oven.bake()));
    assert!(poll!(&mut leader).is_pending());
    assert!(poll!(&mut follower).is_pending());

    drop(leader);
    assert_eq!(oven.abandoned(), 0);
    assert!(reducer.is_in_flight(&"bread"));
    drop(follower);
    assert_eq!(oven.abandoned(), 1);
    assert_eq!(reducer.in_flight(), 0);
    println!(
        "law 5: the last caller left, the work was dropped in that moment, and the key is free"
    );
}

/// Law 6: a panic reaches every caller, in the same words, and harms no later call.
async fn the_work_panics() {
    println!("law 6: the panic reported next is planned");
    let (reducer, oven) = (Reducer::new(), Oven::new());
    let burn = async |oven: Arc<Oven>| -> &'static str {
        oven.wait().await;
        panic!("the oven is on fire")
    };

    let (leader, follower, other, ()) = tokio::join!(
        reducer.try_reduce("bread", burn(Arc::clone(&oven))),
        reducer.try_reduce("bread", burn(Arc::clone(&oven))),
        AssertUnwindSafe(reducer.reduce("bread", burn(Arc::clone(&oven)))).catch_unwind(),
        async { oven.finish() },
    );
    for outcome in [leader, follower] {
        match outcome {
            Err(ReduceError::Panicked(panic)) => assert_eq!(panic.message(), "the oven is on fire"),
            outcome => panic!("one of them baked on: {:?}", outcome.map(|bread| bread.value)),
        }
    }
    let panic = other.expect_err("`reduce` passes the panic on");
    let words = panic.downcast_ref::<&str>().copied();
    let words = words.or(panic.downcast_ref::<String>().map(String::as_str));
    assert_eq!(words, Some("the oven is on fire"));
    println!("       three callers know that the oven is on fire");

    oven.finish();
    assert_eq!(reducer.reduce("bread", oven.bake()).await, "bread");
    println!("       and the next has its bread");
}

/// Work that ends when we say so, and keeps count of itself.
struct Oven {
    done: Semaphore,
    started: AtomicUsize,
    abandoned: AtomicUsize,
}

impl Oven {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            done: Semaphore::new(0),
            started: AtomicUsize::new(0),
            abandoned: AtomicUsize::new(0),
        })
    }

    fn bake(self: &Arc<Self>) -> impl Future<Output = &'static str> + Send + use<> {
        let oven = Arc::clone(self);
        async move {
            oven.started.fetch_add(1, Ordering::Relaxed);
            let baking = Baking(&oven);
            oven.wait().await;
            // Out of the oven in time: nothing was abandoned.
            std::mem::forget(baking);
            "bread"
        }
    }

    async fn wait(&self) {
        self.done.acquire().await.expect("the oven is never closed").forget();
    }

    /// Lets one piece of work come to its end.
    fn finish(&self) {
        self.done.add_permits(1);
    }

    fn started(&self) -> usize {
        self.started.load(Ordering::Relaxed)
    }

    /// How often work was dropped before its end.
    fn abandoned(&self) -> usize {
        self.abandoned.load(Ordering::Relaxed)
    }
}

/// Dropped before the work's end, it counts as abandoned.
struct Baking<'a>(&'a Oven);

impl Drop for Baking<'_> {
    fn drop(&mut self) {
        self.0.abandoned.fetch_add(1, Ordering::Relaxed);
    }
}
