//! What befell others of our kind, where no law of ours says it in so many words.

use std::cell::RefCell;
use std::sync::Arc;
use std::sync::atomic::{AtomicIsize, Ordering::SeqCst};
use std::time::Duration;

use reducer_core::Reducer;
use reducer_tests::{ByHand, Count, Gate, never_runs, settle};

/// A value that knows how many of it there are.
#[derive(Debug)]
struct Counted(Arc<AtomicIsize>);

impl Counted {
    fn new(alive: &Arc<AtomicIsize>) -> Self {
        alive.fetch_add(1, SeqCst);
        Self(Arc::clone(alive))
    }
}

impl Clone for Counted {
    fn clone(&self) -> Self {
        Self::new(&self.0)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

#[test]
fn an_outcome_is_dropped_exactly_once_whoever_reads_it() {
    let alive = Arc::new(AtomicIsize::new(0));
    for readers in 0..4 {
        let reducer = Reducer::new();
        let gate = Gate::new();
        let mut tasks: Vec<_> = (0..3)
            .map(|_| {
                let (gate, alive) = (gate.clone(), Arc::clone(&alive));
                ByHand::new(reducer.reduce(1, async move {
                    gate.pass().await;
                    Counted::new(&alive)
                }))
            })
            .collect();
        tasks.iter_mut().for_each(|task| {
            task.pending();
        });
        gate.open();
        let values: Vec<_> = tasks.iter_mut().take(readers).map(|task| task.ready()).collect();
        drop(tasks);
        assert_eq!(alive.load(SeqCst), values.len() as isize);
        drop(values);
        assert_eq!(alive.load(SeqCst), 0);
    }
}

#[test]
fn a_lone_caller_gets_the_value_itself_and_no_clone() {
    #[derive(Debug)]
    struct NotCloned;
    impl Clone for NotCloned {
        fn clone(&self) -> Self {
            panic!("cloned for nobody")
        }
    }
    let reducer = Reducer::new();
    ByHand::new(reducer.reduce(1, async { NotCloned })).ready();
    reducer.reduce_blocking(2, || NotCloned);
    // The last one left counts as alone.
    let gate = Gate::new();
    let work = || {
        let gate = gate.clone();
        async move {
            gate.pass().await;
            NotCloned
        }
    };
    let (mut a, mut b) =
        (ByHand::new(reducer.reduce(3, work())), ByHand::new(reducer.reduce(3, work())));
    a.pending();
    b.pending();
    drop(a);
    gate.open();
    b.ready();
}

#[test]
fn a_call_from_a_thread_locals_destructor_works_or_at_least_ends() {
    struct CallsAtExit(Reducer, Count);
    impl Drop for CallsAtExit {
        fn drop(&mut self) {
            assert_eq!(ByHand::new(self.0.reduce(1, async { 1 })).ready(), 1);
            assert_eq!(self.0.reduce_blocking(2, || 2), 2);
            self.1.add();
        }
    }
    thread_local! {
        static AT_EXIT: RefCell<Option<CallsAtExit>> = const { RefCell::new(None) };
    }
    let (reducer, ended) = (Reducer::new(), Count::new());
    let at_exit = CallsAtExit(reducer.clone(), ended.clone());
    std::thread::spawn(move || {
        AT_EXIT.set(Some(at_exit));
        // The reducer's own thread-locals come later, and so go earlier.
        reducer.reduce_blocking(3, || 3);
    })
    .join()
    .unwrap();
    assert_eq!(ended.get(), 1);
}

/// tokio's budget makes a resource answer `Pending` though it is ready, once a task has had its share.
#[tokio::test]
async fn a_flight_that_uses_up_a_callers_budget_goes_on_in_the_next_poll() {
    let reducer = Reducer::new();
    let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
    (0..10_000).for_each(|n| send.send(n).unwrap());
    drop(send);
    let work = async move {
        let mut sum = 0u64;
        while let Some(n) = receive.recv().await {
            sum += n;
        }
        sum
    };
    let (a, b) = tokio::join!(reducer.reduce(1, work), reducer.reduce(1, never_runs::<u64>()));
    assert_eq!((a, b), (49_995_000, 49_995_000));
}

#[tokio::test]
async fn a_client_that_disconnects_leaves_nothing_that_later_calls_could_hang_on() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    for _ in 0..100 {
        let (mine, gate) = (reducer.clone(), gate.clone());
        let handler = tokio::spawn(async move { mine.reduce(1, gate.pass()).await });
        while !reducer.is_in_flight(&1) {
            tokio::task::yield_now().await;
        }
        handler.abort();
        assert!(handler.await.unwrap_err().is_cancelled());
        assert_eq!(reducer.in_flight(), 0);
    }
    reducer.reduce(1, async {}).await;
}

#[test]
fn a_flight_may_be_joined_from_two_runtimes() {
    let reducer = Reducer::new();
    let runtimes = [(); 2].map(|()| {
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build().unwrap()
    });
    let calls: Vec<_> = (0..40)
        .map(|n| {
            let reducer = reducer.clone();
            runtimes[n % 2].spawn(async move {
                reducer
                    .reduce_with(1, || async {
                        for _ in 0..10 {
                            tokio::time::sleep(Duration::from_millis(1)).await;
                        }
                        7
                    })
                    .await
            })
        })
        .collect();
    for call in calls {
        assert_eq!(pollster::block_on(call).unwrap(), 7);
    }
    assert_eq!(reducer.in_flight(), 0);
}

/// A runtime goes down with callers in mid-flight; those on the other have an answer.
#[test]
fn callers_on_a_living_runtime_are_answered_when_another_dies() {
    for crowd in [1, 40] {
        let reducer = Reducer::new();
        let runtime = || {
            tokio::runtime::Builder::new_multi_thread()
                .worker_threads(1)
                .enable_time()
                .build()
                .unwrap()
        };
        let (dies, lives) = (runtime(), runtime());
        let call = |runtime: &tokio::runtime::Runtime| {
            let reducer = reducer.clone();
            runtime.spawn(async move {
                reducer
                    .try_reduce(1, async {
                        tokio::time::sleep(Duration::from_secs(3600)).await;
                    })
                    .await
            })
        };
        let leaders: Vec<_> = (0..crowd).map(|_| call(&dies)).collect();
        while reducer.callers(&1) < crowd {
            std::thread::yield_now();
        }
        let others: Vec<_> = (0..crowd).map(|_| call(&lives)).collect();
        while reducer.callers(&1) < 2 * crowd {
            std::thread::yield_now();
        }
        dies.shutdown_background();
        for other in others {
            // The work needs the runtime that died: an error, but no silence.
            assert!(pollster::block_on(other).unwrap().is_err());
        }
        drop(leaders);
        assert_eq!(reducer.in_flight(), 0);
    }
}

#[test]
fn callers_who_never_stop_coming_do_not_keep_the_first_from_its_answer() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut first = ByHand::new(reducer.reduce(1, gate.pass()));
    first.pending();
    let mut crowd = Vec::new();
    for _ in 0..100 {
        let mut late = ByHand::new(reducer.reduce(1, never_runs::<()>()));
        late.pending();
        crowd.push(late);
    }
    gate.open();
    first.ready();
    assert!(settle(&mut crowd).into_iter().all(|done| done.is_some()));
}
