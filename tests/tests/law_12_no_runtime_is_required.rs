//! Law 12. Flights need no runtime: a bare `block_on` will do. `timeout` and `detached` need tokio and say
//! so where there is none.

use std::time::Duration;

use reducer_core::{ReduceError, Reducer};
use reducer_tests::{ByHand, Count, Gate, never_runs};

#[test]
fn threads_with_a_bare_block_on_share() {
    let reducer = Reducer::new();
    let (runs, gate) = (Count::new(), Gate::new());
    std::thread::scope(|threads| {
        let call = || {
            let (runs, gate) = (runs.clone(), gate.clone());
            pollster::block_on(reducer.reduce(1, async move {
                runs.add();
                for _ in 0..20 {
                    gate.pass().await;
                }
                "done"
            }))
        };
        let callers: Vec<_> = (0..8).map(|_| threads.spawn(call)).collect();
        while reducer.callers(&1) < 8 {
            std::thread::yield_now();
        }
        (0..20).for_each(|_| gate.open());
        for caller in callers {
            assert_eq!(caller.join().unwrap(), "done");
        }
    });
    assert_eq!((runs.get(), reducer.in_flight()), (1, 0));
}

#[test]
fn timeout_outside_a_runtime_is_an_error_that_names_it() {
    let reducer = Reducer::builder().timeout(Duration::from_secs(1)).build();
    let error = ByHand::new(reducer.try_reduce(1, never_runs::<()>())).ready().unwrap_err();
    let ReduceError::NoRuntime(error) = error else { panic!("{error:?}") };
    assert_eq!(error.option(), "timeout");
    let text = error.to_string();
    assert!(text.contains("`timeout`") && text.contains("tokio::main"), "{text}");
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn detached_outside_a_runtime_is_an_error_that_names_it() {
    let reducer = Reducer::builder().detached(true).build();
    let error = ByHand::new(reducer.try_reduce(1, never_runs::<()>())).ready().unwrap_err();
    let ReduceError::NoRuntime(error) = error else { panic!("{error:?}") };
    assert_eq!(error.option(), "detached");
    assert!(error.to_string().contains("`detached`"));
}

#[test]
fn blocking_calls_need_no_runtime_whatever_the_options() {
    let reducer =
        Reducer::builder().timeout(Duration::from_secs(1)).detached(true).max_followers(1).build();
    assert_eq!(reducer.reduce_blocking(1, || 7), 7);
}
