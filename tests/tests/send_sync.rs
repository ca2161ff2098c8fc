//! What may be sent and shared, at compile time: one line for each public type and future.

use std::fmt::Debug;
use std::time::Duration;

use reducer_core::{
    Cancelled, KeyedMeter, Meter, NoRuntime, Overloaded, Panicked, ReduceError, Reduced, Reducer,
    ReducerBuilder, Reentrant, Role, SharedError, Spawned, Stats, TimedOut,
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
    plain::<Meter>();
    plain::<Spawned>();
    plain::<Stats>();
    plain::<KeyedMeter<String>>();
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

#[test]
fn the_forms_of_a_meter_are_send_where_people_use_them() {
    async fn number(_: &str) -> i32 {
        work().await
    }
    let ok = |text| async move { Ok::<_, i32>(number(text).await) };
    let meter = Meter::new();
    let words = ["a", "b"];
    send(meter.acquire());
    send(meter.try_acquire());
    send(meter.amap(words, number));
    send(meter.amap(words, number).indexed());
    send(meter.run_on_each_stream(futures_util::stream::iter(words), number));
    send(meter.spawned().amap(words, number));
    send(async {
        meter.run_on_each(words, number).await;
        meter.run_on_each(words, |word| async move { number(word).await }).await;
        meter.run_all(words.map(number)).await;
        meter.run_any(words.into_iter().map(number)).await;
        meter.try_run_all(words.map(ok)).await.map(drop)?;
        meter.try_run_on_each(words, ok).await?;
        meter.spawned().run_on_each(words, number).await;
        meter.run_any_ok(words.map(ok)).await.map_err(|errors| errors[0])
    });
}
