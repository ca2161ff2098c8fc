//! Stacks that are left in another order than they were entered: coroutines, on one thread.

use corosensei::{Coroutine, CoroutineResult};
use reducer_core::Reducer;

#[test]
fn a_flight_may_end_inside_of_one_that_began_after_it() {
    let reducer: &'static Reducer = Box::leak(Box::default());
    let mut first = Coroutine::new(move |here, ()| {
        reducer.reduce_blocking("first", || here.suspend(()));
    });
    assert!(matches!(first.resume(()), CoroutineResult::Yield(())));
    reducer.reduce_blocking("second", move || {
        assert!(matches!(first.resume(()), CoroutineResult::Return(())));
        drop(first); // and its stack
        // Still inside of the second.
        let ring = reducer.try_reduce_blocking("second", || ());
        assert!(matches!(ring, Err(reducer_core::ReduceError::Reentrant(_))));
    });
    assert_eq!(reducer.reduce_blocking("third", || 7), 7);
}
