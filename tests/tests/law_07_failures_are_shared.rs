//! Law 7. Nobody who joined runs the work again one after another.

use reducer_core::{ReduceError, Reducer, SharedError};
use reducer_tests::{ByHand, Count, Gate, settle};

fn crowd_on<V: Clone + Send + Sync + 'static>(
    fail: impl Fn() -> V + Clone + Send + Sync + 'static,
) -> (usize, Vec<Result<V, ReduceError>>) {
    let reducer = Reducer::new();
    let (runs, gate) = (Count::new(), Gate::new());
    let mut tasks: Vec<_> = (0..20)
        .map(|_| {
            let (runs, gate, fail) = (runs.clone(), gate.clone(), fail.clone());
            ByHand::new(reducer.try_reduce(1, async move {
                runs.add();
                gate.pass().await;
                fail()
            }))
        })
        .collect();
    tasks.iter_mut().for_each(|task| {
        task.pending();
    });
    (0..20).for_each(|_| gate.open());
    let done = settle(&mut tasks);
    (runs.get(), done.into_iter().map(|done| done.unwrap().map(|done| done.value)).collect())
}

#[test]
fn an_error_is_not_tried_again_by_the_next_in_line() {
    let (runs, outcomes) = crowd_on(|| Err::<(), _>("down"));
    assert!(outcomes.into_iter().all(|outcome| outcome.unwrap() == Err("down")));
    assert_eq!(runs, 1);
}

#[test]
fn a_panic_is_not_tried_again_by_the_next_in_line() {
    let (runs, outcomes) = crowd_on(|| -> () { panic!("down") });
    assert!(outcomes.into_iter().all(|outcome| matches!(outcome, Err(ReduceError::Panicked(_)))));
    assert_eq!(runs, 1);
}

#[test]
fn an_error_that_is_not_clone_is_shared_as_a_shared_error() {
    let (runs, outcomes) = crowd_on(|| -> Result<(), SharedError> {
        std::fs::read("/no/such/file/anywhere")?;
        Ok(())
    });
    assert_eq!(runs, 1);
    for outcome in outcomes {
        let error = outcome.unwrap().unwrap_err();
        let io = error.downcast_ref::<std::io::Error>().expect("the original");
        assert_eq!(io.kind(), std::io::ErrorKind::NotFound);
    }
}
