//! What may be sent and shared, at compile time: one line for each public type and future.

use std::fmt::Debug;
use std::time::Duration;

use reducer_core::{
    Cancelled, NoRuntime, Overloaded, Panicked, ReduceError, Reduced, Reducer, ReducerBuilder,
    Reentrant, Role, SharedError, TimedOut,
};

fn send<T: Send>(_: T) {}
fn plain<T: Clone + Debug + Send + Sync + 'static>() {}

#[test]
fn types_are_clone_debug_send_sync_and_static() {
    plain::<Reducer>();
    plain::<ReducerBuilder>();
    plain::<Reduced<u8>>();
    plain::<Role>();
    plain::<ReduceError>();
    plain::<SharedError>();
    plain::<Panicked>();
    plain::<TimedOut>();
    plain::<Reentrant>();
    plain::<Overloaded>();
    plain::<Cancelled>();
    plain::<NoRuntime>();
}

/// Work that is `Send` and not `Sync`.
async fn work() -> i32 {
    let cell = std::cell::Cell::new(1);
    tokio::time::sleep(Duration::ZERO).await;
    cell.get()
}

/// Also with keys that have a lifetime, as they stand in real functions.
#[test]
fn futures_are_send_where_people_use_them() {
    let reducer = Reducer::new();
    send(reducer.reduce("key", work()));
    send(reducer.try_reduce(("key", 1u8), work()));
    send(reducer.reduce_with(String::new(), {
        let work = work();
        move || work
    }));
    send(reducer.reduce_by_ref("key", work()));
    send(reducer_core::reduce("key", work()));
    send(reducer.wrap(|n: u8| async move { n })(1));
    // Inside an `async` block, where rustc forgets what lifetime a `&'static str` has.
    send(async {
        reducer.reduce("key", work()).await;
        reducer.try_reduce(("a", "b"), work()).await.map(drop)
    });
}
