//! What befell others of our kind, where no law of ours says it in so many words.

use std::cell::RefCell;
use std::future::poll_fn;
use std::panic::panic_any;
use std::pin::{Pin, pin};
use std::sync::atomic::{AtomicIsize, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::thread;
use std::time::Duration;

use reducer_core::{ReduceError, Reducer, StatisticsOverallHooks, reduceable};
use reducer_tests::{ByHand, Count, DropCounts, Gate, never_runs, panics, settle};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};

/// On a thread of its own.
fn runtime() -> Runtime {
    Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

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
    let runtimes = [runtime(), runtime()];
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
        let (dies, lives) = (runtime(), runtime());
        let call = |runtime: &Runtime| {
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

/// Futures may be carried out of the runtime that their flight has a task in, and outlive it.
#[test]
fn callers_that_outlive_the_runtime_of_their_flights_task_go_on_without_it() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let entered = runtime.enter();
    let mut callers: Vec<_> = (0..40)
        .map(|_| {
            let gate = gate.clone();
            ByHand::new(reducer.reduce_with(1, || async move {
                gate.pass().await;
                gate.pass().await;
                7
            }))
        })
        .collect();
    for caller in &mut callers {
        caller.pending();
    }
    // So many are not all woken for nothing: the flight gets a task, which never runs.
    gate.open();
    assert!(!callers.iter().any(ByHand::is_woken));
    drop(entered);
    drop(runtime);
    assert!(callers.iter().all(ByHand::is_woken));
    assert!(settle(&mut callers).iter().all(Option::is_none));
    gate.open();
    assert!(settle(&mut callers).iter().all(|value| *value == Some(7)));
    assert_eq!(reducer.in_flight(), 0);
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

#[derive(Debug)]
struct Plain;

impl Wake for Plain {
    fn wake(self: Arc<Self>) {}
}

type Boxed<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

fn poll_with<T>(call: &mut Boxed<'_, T>, waker: Waker) -> Poll<T> {
    call.as_mut().poll(&mut Context::from_waker(&waker))
}

#[test]
fn a_waker_goes_when_it_is_replaced_and_when_its_caller_leaves() {
    let reducer = Reducer::new();
    let mut leader: Boxed<()> = Box::pin(reducer.reduce(1, std::future::pending()));
    let mut follower: Boxed<()> = Box::pin(reducer.reduce(1, never_runs()));
    let tasks = [(); 3].map(|()| Arc::new(Plain));
    let held = || tasks.each_ref().map(|task| Arc::strong_count(task) - 1);
    let waker = |task: usize| Waker::from(Arc::clone(&tasks[task]));

    assert!(poll_with(&mut leader, waker(0)).is_pending());
    assert!(poll_with(&mut follower, waker(1)).is_pending());
    assert_eq!(held(), [1, 1, 0]);
    for _ in 0..3 {
        assert!(poll_with(&mut leader, waker(0)).is_pending());
        assert!(poll_with(&mut follower, waker(2)).is_pending());
    }
    assert_eq!(held(), [1, 0, 1]);
    drop(follower);
    assert_eq!(held(), [1, 0, 0]);
    drop(leader);
    assert_eq!(held(), [0, 0, 0]);
}

/// A task whose last waker panics when it is dropped.
#[derive(Debug)]
struct Sore;

impl Wake for Sore {
    fn wake(self: Arc<Self>) {}
}

impl Drop for Sore {
    fn drop(&mut self) {
        panic!("a waker's destructor");
    }
}

#[test]
fn a_waker_that_panics_when_it_is_dropped_harms_its_own_call_at_most() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut leader = ByHand::new(reducer.reduce(1, gate.pass()));
    leader.pending();
    // It leaves, it is woken, it comes with another waker.
    let mut sore: Vec<Boxed<()>> =
        (0..3).map(|_| Box::pin(reducer.reduce(1, never_runs())) as Boxed<()>).collect();
    for call in &mut sore {
        assert!(poll_with(call, Waker::from(Arc::new(Sore))).is_pending());
    }
    let mut other = ByHand::new(reducer.reduce(1, never_runs::<()>()));
    other.pending();
    drop(sore.pop());
    let message = panics(|| poll_with(&mut sore[0], Waker::from(Arc::new(Plain))));
    assert_eq!(message, "a waker's destructor");
    gate.open();
    assert!(other.is_woken());
    other.ready();
    leader.ready();
    sore.iter_mut().for_each(|call| {
        assert!(poll_with(call, Waker::from(Arc::new(Plain))).is_ready());
    });
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn a_lone_leader_that_gives_up_a_waker_which_panics_is_called_all_the_same() {
    let (gate, reducer) = (Gate::new(), Reducer::new());
    let mut leader: Boxed<()> = Box::pin(reducer.reduce(1, gate.pass()));
    assert!(poll_with(&mut leader, Waker::from(Arc::new(Sore))).is_pending());
    let mut leader = ByHand::new(leader);
    leader.pending();
    gate.open();
    assert!(leader.is_woken());
    leader.ready();
}

/// The flight's own task stands still, and the one who drives instead has a sore waker to give up.
#[test]
fn a_waker_that_panics_when_it_is_dropped_takes_no_wake_up_along() {
    let reducer = Reducer::new();
    let idle = Builder::new_current_thread().build().unwrap();
    let (gate, (in_poll, polled)) = (Gate::new(), mpsc::channel());
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = Mutex::new(may_go_on);
    let pass = gate.pass();
    let work = async move {
        pass.await;
        let mut polled_before = false;
        poll_fn(|cx| {
            if std::mem::replace(&mut polled_before, true) {
                return Poll::Ready(());
            }
            in_poll.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
            cx.waker().wake_by_ref();
            Poll::Pending
        })
        .await;
    };
    let entered = idle.enter();
    let mut leader: Boxed<()> = Box::pin(reducer.reduce(1, work));
    assert!(poll_with(&mut leader, Waker::from(Arc::new(Sore))).is_pending());
    let mut crowd: Vec<_> =
        (0..50).map(|_| ByHand::new(reducer.reduce(1, never_runs::<()>()))).collect();
    crowd.iter_mut().for_each(|call| {
        call.pending();
    });
    drop(entered);
    gate.open(); // the flight moves to a task, which nobody polls
    let mut elsewhere = ByHand::new(reducer.reduce(1, never_runs::<()>()));
    thread::scope(|threads| {
        let idle = &idle;
        let drives = threads.spawn(move || {
            let _entered = idle.enter();
            panics(|| poll_with(&mut leader, Waker::from(Arc::new(Plain))))
        });
        polled.recv().unwrap();
        elsewhere.pending();
        go_on.send(()).unwrap();
        assert_eq!(drives.join().unwrap(), "a waker's destructor");
    });
    assert!(elsewhere.is_woken());
    elsewhere.ready();
    assert_eq!(reducer.in_flight(), 0);
}

/// And one whose destructor panics, whose payload's destructor panics: no destructor is so bad that it comes out of a call.
#[test]
fn a_payload_that_panics_with_its_like_comes_out_of_no_call() {
    static LEFT: AtomicUsize = AtomicUsize::new(2);
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            let go = |left: usize| left.checked_sub(1);
            if LEFT.fetch_update(SeqCst, SeqCst, go).is_ok() {
                std::panic::panic_any(Self);
            }
        }
    }
    #[derive(PartialEq, Eq, Hash)]
    struct Key(Arc<u8>);
    impl Drop for Key {
        fn drop(&mut self) {
            std::panic::panic_any(Bomb);
        }
    }
    let (reducer, inside) = (Reducer::new(), Arc::new(1));
    let outcome = ByHand::new(reducer.try_reduce(Key(Arc::clone(&inside)), async { 1 })).ready();
    assert_eq!((outcome.unwrap().value, LEFT.load(SeqCst)), (1, 1));
    assert_eq!((reducer.in_flight(), Arc::strong_count(&inside)), (0, 1));
}

/// Hazard of a panic's payload, which is users' code like any value.
#[test]
fn a_payload_that_panics_when_it_is_dropped_harms_nobody() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let pass = gate.pass();
    let mut leader = ByHand::new(reducer.try_reduce(1, async move {
        pass.await;
        if true {
            panic_any(DropBomb);
        }
    }));
    let mut follower = ByHand::new(reducer.try_reduce(1, never_runs::<()>()));
    leader.pending();
    follower.pending();
    gate.open();
    let error = leader.ready().unwrap_err();
    assert!(matches!(error, ReduceError::Panicked(_)));
    drop(error);
    drop(leader);
    // The last to have it never looks at it.
    drop(follower);
    assert_eq!(reducer.in_flight(), 0);
    ByHand::new(reducer.reduce(1, async {})).ready();
}

struct DropBomb;

impl Drop for DropBomb {
    fn drop(&mut self) {
        panic!("a payload's destructor");
    }
}

/// Nobody is in the flight any more, and its task is in the middle of a poll.
#[test]
fn the_last_caller_may_leave_while_the_flights_own_task_is_in_mid_poll() {
    for lands in [false, true] {
        let (runtime, reducer) = (runtime(), Reducer::new());
        let (gate, dropped) = (Gate::new(), Count::new());
        let (in_poll, polled) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let may_go_on = Mutex::new(may_go_on);
        let (pass, guard) = (gate.pass(), DropCounts(dropped.clone()));
        let work = async move {
            let _guard = guard;
            pass.await;
            in_poll.send(()).unwrap();
            may_go_on.lock().unwrap().recv().unwrap();
            if !lands {
                std::future::pending::<()>().await;
            }
            1
        };
        let entered = runtime.enter();
        let mut leader = ByHand::new(reducer.reduce(1, work));
        leader.pending();
        let mut crowd: Vec<_> =
            (0..50).map(|_| ByHand::new(reducer.reduce(1, never_runs::<i32>()))).collect();
        crowd.iter_mut().for_each(|call| {
            call.pending();
        });
        gate.open();
        polled.recv().unwrap();
        drop((leader, crowd));
        assert_eq!((dropped.get(), reducer.in_flight()), (0, 1), "it is in use");
        let mut next = ByHand::new(reducer.reduce(1, async { 2 }));
        next.pending();
        go_on.send(()).unwrap();
        while !next.is_woken() {
            thread::yield_now();
        }
        assert_eq!((dropped.get(), next.ready()), (1, 2));
        assert_eq!(reducer.in_flight(), 0);
        drop(entered);
    }
}

#[test]
fn a_local_set_that_is_dropped_leaves_its_flights_to_the_others() {
    let reducer = Reducer::new();
    let gate = Gate::new();
    let current = Builder::new_current_thread().build().unwrap();
    let local = tokio::task::LocalSet::new();
    for _ in 0..3 {
        let (reducer, gate) = (reducer.clone(), gate.clone());
        local.spawn_local(async move {
            reducer.reduce(1, gate.pass()).await;
        });
    }
    current.block_on(local.run_until(async {
        while reducer.callers(&1) < 3 {
            tokio::task::yield_now().await;
        }
    }));
    let mut elsewhere = ByHand::new(reducer.reduce(1, never_runs::<()>()));
    elsewhere.pending();
    drop(local);
    assert_eq!(reducer.callers(&1), 1);
    gate.open();
    assert!(elsewhere.is_woken());
    elsewhere.ready();
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn a_socket_of_an_aborted_leaders_runtime_serves_a_follower_elsewhere() {
    let reducer = Reducer::new();
    let (one, other) = (runtime(), runtime());
    let (mut near, mut far) = one.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let near = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        (near, listener.accept().await.unwrap().0)
    });
    let until_callers = |callers| {
        while reducer.callers(&1) != callers {
            thread::yield_now();
        }
    };
    let (leads, follows) = (reducer.clone(), reducer.clone());
    let leader = one.spawn(async move {
        leads
            .reduce(1, async move {
                let mut said = [0; 2];
                far.read_exact(&mut said).await.unwrap();
                said
            })
            .await
    });
    until_callers(1);
    let follower = other.spawn(async move { follows.reduce(1, never_runs::<[u8; 2]>()).await });
    until_callers(2);
    leader.abort();
    until_callers(1);
    one.block_on(near.write_all(b"ok")).unwrap();
    assert_eq!(pollster::block_on(follower).unwrap(), *b"ok");
    assert_eq!(reducer.in_flight(), 0);
}

/// What sharing the driving costs: what belongs to a task differs from poll to poll. The docs say so.
#[test]
fn work_sees_the_task_locals_of_whoever_polls_it() {
    tokio::task_local! {
        static REQUEST: u32;
    }
    let reducer = Reducer::new();
    let gate = Gate::new();
    let pass = gate.pass();
    let work = async move {
        let first = REQUEST.try_with(|request| *request);
        pass.await;
        (first.ok(), REQUEST.try_with(|request| *request).ok())
    };
    let mut leader = ByHand::new(REQUEST.scope(1, reducer.reduce(1, work)));
    let mut follower = ByHand::new(
        REQUEST.scope(2, reducer.reduce(1, never_runs::<(Option<u32>, Option<u32>)>())),
    );
    leader.pending();
    follower.pending();
    gate.open();
    assert_eq!(follower.ready(), (Some(1), Some(2)));
    assert_eq!(leader.ready(), (Some(1), Some(2)));
}

#[tokio::test]
async fn a_caller_without_a_budget_shares_with_one_that_has_one() {
    let reducer = Reducer::new();
    for unconstrained_leads in [false, true] {
        let (send, mut receive) = tokio::sync::mpsc::unbounded_channel();
        (0..10_000).for_each(|n| send.send(n).unwrap());
        drop(send);
        let work = || async move {
            let mut sum = 0u64;
            tokio::task::yield_now().await;
            while let Some(n) = receive.recv().await {
                sum += n;
            }
            sum
        };
        let (mut a, mut b) = (Some(work), None);
        if !unconstrained_leads {
            std::mem::swap(&mut a, &mut b);
        }
        let call = |work: Option<_>| {
            let reducer = reducer.clone();
            async move {
                match work {
                    Some(work) => reducer.reduce_with(1, work).await,
                    None => reducer.reduce(1, never_runs::<u64>()).await,
                }
            }
        };
        let (free, bound) = (tokio::task::unconstrained(call(a)), call(b));
        let (first, second) = if unconstrained_leads {
            tokio::join!(free, bound)
        } else {
            let (bound, free) = tokio::join!(bound, free);
            (free, bound)
        };
        assert_eq!((first, second), (49_995_000, 49_995_000));
    }
}

#[tokio::test(start_paused = true)]
async fn a_forgotten_flight_that_times_out_leaves_its_successors_row_alone() {
    let reducer = Reducer::builder().timeout(Duration::from_secs(1)).build();
    let mut old = pin!(reducer.try_reduce(1, std::future::pending::<()>()));
    assert!(futures_util::poll!(&mut old).is_pending());
    assert!(reducer.forget(&1));
    tokio::time::sleep(Duration::from_millis(500)).await;
    let mut new = pin!(reducer.try_reduce(1, std::future::pending::<()>()));
    assert!(futures_util::poll!(&mut new).is_pending());
    assert!(matches!(old.await, Err(ReduceError::TimedOut(_))));
    assert!(reducer.is_in_flight(&1));
    assert!(matches!(new.await, Err(ReduceError::TimedOut(_))));
    assert_eq!(reducer.in_flight(), 0);
}

#[derive(Debug)]
struct Object(u64);

impl Object {
    #[reduceable(skip(gate))]
    async fn read(self: Arc<Self>, gate: &Gate) -> u64 {
        gate.pass().await;
        self.0
    }
}

/// An object is told from others by its address, which is its own for as long as a flight may ask.
#[test]
fn an_objects_address_is_not_given_away_while_a_flight_is_known_by_it() {
    let gate = Gate::new();
    let old = Arc::new(Object(0));
    let address = Arc::as_ptr(&old) as usize;
    let mut call = ByHand::new(old.read(&gate));
    call.pending();
    // The last `Arc` but for the flight's is gone: if it gave up its own, one of these would lie there.
    let new: Vec<_> = (1..1000).map(|n| Arc::new(Object(n))).collect();
    assert!(new.iter().all(|new| Arc::as_ptr(new) as usize != address));
    let mut calls: Vec<_> =
        new.iter().map(|new| ByHand::new(Arc::clone(new).read(&gate))).collect();
    calls.iter_mut().for_each(|call| {
        call.pending();
    });
    (0..1000).for_each(|_| gate.open());
    assert_eq!(call.ready(), 0);
    let values: Vec<_> = settle(&mut calls).into_iter().flatten().collect();
    assert_eq!(values, (1..1000).collect::<Vec<_>>());
}

/// Hazard of a flight's layout: key, work, value and what hooks want to know lie one behind the other, as large as they
/// may be.
#[test]
fn keys_and_works_may_want_to_lie_at_round_addresses() {
    #[repr(align(64))]
    #[derive(Clone, Debug, PartialEq, Eq, Hash)]
    struct Key(u8);
    #[repr(align(128))]
    struct Large(u8);
    #[derive(Clone, Debug)]
    #[repr(align(32))]
    struct Value(Arc<()>);

    let round = |at: *const Large| (at as usize).trailing_zeros() >= align_of::<Large>().ilog2();
    let reducers =
        [Reducer::new(), Reducer::builder().hooks(StatisticsOverallHooks::new()).build()];
    for reducer in reducers {
        let (value, gate) = (Value(Arc::default()), Gate::new());
        for lands in [false, true] {
            let work = || {
                let (large, value, pass) = (Large(3), value.clone(), gate.pass());
                async move {
                    pass.await;
                    assert!(large.0 == 3 && round(&large));
                    value
                }
            };
            let mut calls = [(); 3].map(|()| ByHand::new(reducer.reduce(Key(1), work())));
            calls.iter_mut().for_each(|call| {
                call.pending();
            });
            if lands {
                gate.open();
                let values = calls.map(|mut call| call.ready());
                assert_eq!(Arc::strong_count(&value.0), 1 + values.len());
            }
        }
        assert_eq!((Arc::strong_count(&value.0), reducer.in_flight()), (1, 0));
    }
}
