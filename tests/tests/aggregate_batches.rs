//! What is in a batch, when it goes, and what comes back. Every clock is tokio's, and paused.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::join_all;
use reducer_core::{AggregateError, Aggregator, Slot};
use reducer_tests::{ByHand, Count, Gate};
use tokio::time::{Instant, sleep};

const LEEWAY: Duration = Duration::from_millis(100);

/// What each batch was given.
type Seen = Arc<Mutex<Vec<Vec<u64>>>>;

fn squares(max_count: usize) -> (Aggregator<u64, u64>, Seen) {
    let seen = Seen::default();
    let batches = Arc::clone(&seen);
    let squares =
        Aggregator::builder().leeway(LEEWAY).max_count(max_count).build(move |ns: Vec<u64>| {
            batches.lock().unwrap().push(ns.clone());
            async move { ns.into_iter().map(|n| n * n).collect::<Vec<_>>() }
        });
    (squares, seen)
}

fn spawn(of: &Aggregator<u64, u64>, n: u64) -> tokio::task::JoinHandle<u64> {
    let call = of.call(n);
    tokio::spawn(async move { call.await.unwrap() })
}

async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failing_batch_fails_all_of_its_callers_and_runs_once() {
    let runs = Count::new();
    let counted = runs.clone();
    let failing = Aggregator::builder().leeway(LEEWAY).build(move |_: Vec<u64>| {
        counted.add();
        async { Err::<Vec<u64>, _>("no database") }
    });
    let answers = join_all((0..10).map(|n| failing.call(n))).await;
    assert_eq!(runs.get(), 1);
    for answer in answers {
        let Err(AggregateError::Batch(error)) = answer else { panic!("{answer:?}") };
        assert_eq!(*error, "no database");
    }
    assert_eq!(failing.stats().errors, 1);
}

#[tokio::test(start_paused = true)]
async fn a_batch_goes_exactly_one_leeway_after_its_first_call() {
    let (squares, seen) = squares(usize::MAX);
    let start = Instant::now();
    let calls: Vec<_> = (0..9).map(|n| spawn(&squares, n)).collect();
    sleep(LEEWAY / 10).await;
    assert!(seen.lock().unwrap().is_empty());
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), (n * n) as u64);
    }
    assert_eq!(start.elapsed(), LEEWAY);
    assert_eq!(*seen.lock().unwrap(), [(0..9).collect::<Vec<_>>()]);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_goes_before_any_time_passes_and_the_rest_waits() {
    let (squares, seen) = squares(5);
    let start = Instant::now();
    let mut calls: Vec<_> = (0..9).map(|n| spawn(&squares, n)).collect();
    for (n, call) in calls.drain(..5).enumerate() {
        assert_eq!(call.await.unwrap(), (n * n) as u64);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(squares.stats().waiting, 4);
    calls.push(spawn(&squares, 9));
    for (n, call) in (5..).zip(calls) {
        assert_eq!(call.await.unwrap(), n * n);
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(*seen.lock().unwrap(), [vec![0, 1, 2, 3, 4], vec![5, 6, 7, 8, 9]]);
}

#[tokio::test(start_paused = true)]
async fn nobodys_cancellation_runs_a_batch_again() {
    let (gate, runs) = (Gate::new(), Count::new());
    let (passed, counted) = (gate.clone(), runs.clone());
    let slow = Aggregator::builder().leeway(LEEWAY).max_count(5).build(move |ns: Vec<u64>| {
        counted.add();
        let gate = passed.clone();
        async move {
            gate.pass().await;
            ns
        }
    });
    let calls: Vec<_> = (0..9).map(|n| spawn(&slow, n)).collect();
    settle().await;
    assert_eq!(runs.get(), 1);
    // The first of all, the one that filled it, and the first of the next batch.
    for n in [0, 4, 5] {
        calls[n].abort();
    }
    settle().await;
    let tenth = [spawn(&slow, 9), spawn(&slow, 10)];
    settle().await;
    assert_eq!(runs.get(), 2);
    gate.open();
    gate.open();
    for (n, call) in calls.into_iter().chain(tenth).enumerate() {
        match call.await {
            Ok(answer) => assert_eq!(answer, n as u64),
            Err(_) => assert!([0, 4, 5].contains(&n)),
        }
    }
    assert_eq!((runs.get(), slow.stats().abandoned), (2, 3));
}

#[tokio::test(start_paused = true)]
async fn a_slot_that_is_not_set_says_so_and_the_others_have_their_answers() {
    let partial = Aggregator::builder().leeway(LEEWAY).max_count(2).build_slots(
        |slots: Vec<Slot<u64, u64>>| async move { slots[0].set(slots[0].value() * 10) },
    );
    let (first, second) = tokio::join!(partial.call(1), partial.call(2));
    assert_eq!(first.unwrap(), 10);
    assert!(matches!(second, Err(AggregateError::NotSet)), "{second:?}");
}

#[tokio::test(start_paused = true)]
async fn slots_are_answered_one_by_one_and_may_fail_one_by_one() {
    let halves = Aggregator::builder().leeway(LEEWAY).build_slots(
        |slots: Vec<Slot<u64, Result<u64, String>>>| async move {
            for slot in slots {
                sleep(LEEWAY).await;
                let n = *slot.value();
                slot.set(if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd")) });
                slot.set(Err("the first answer stands".into()));
            }
        },
    );
    let start = Instant::now();
    let calls = [0, 1, 2, 3, 4].map(|n| {
        let call = halves.call(n);
        tokio::spawn(async move { (call.await.unwrap(), start.elapsed()) })
    });
    for (n, call) in calls.into_iter().enumerate() {
        let (answer, after) = call.await.unwrap();
        let n = n as u64;
        assert_eq!(
            answer,
            if n.is_multiple_of(2) { Ok(n / 2) } else { Err(format!("{n} is odd")) }
        );
        assert_eq!(after, LEEWAY * (n as u32 + 2));
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_length_fails_every_caller_with_both_numbers() {
    for got in [0, 2, 4, 5] {
        let wrong = Aggregator::builder()
            .leeway(LEEWAY)
            .build(move |_: Vec<u64>| async move { vec![0u64; got] });
        for answer in join_all((0..3).map(|n| wrong.call(n))).await {
            let Err(AggregateError::WrongLength { asked: 3, got: told }) = answer else {
                panic!("{answer:?}")
            };
            assert_eq!(told, got);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_window_never_restarts() {
    let (squares, seen) = squares(usize::MAX);
    let start = Instant::now();
    let first = spawn(&squares, 1);
    sleep(LEEWAY * 7 / 10).await;
    let second = spawn(&squares, 2);
    first.await.unwrap();
    second.await.unwrap();
    assert_eq!(start.elapsed(), LEEWAY);
    assert_eq!(*seen.lock().unwrap(), [[1, 2]]);
}

#[tokio::test(start_paused = true)]
async fn the_timer_of_a_full_batch_does_not_cut_the_next_window() {
    let (squares, seen) = squares(2);
    let calls = [spawn(&squares, 1), spawn(&squares, 2)];
    sleep(LEEWAY / 2).await;
    let start = Instant::now();
    spawn(&squares, 3).await.unwrap();
    assert_eq!(start.elapsed(), LEEWAY);
    for call in calls {
        call.await.unwrap();
    }
    assert_eq!(*seen.lock().unwrap(), [vec![1, 2], vec![3]]);
}

#[tokio::test(start_paused = true)]
async fn who_leaves_before_dispatch_is_not_in_the_batch() {
    let (squares, seen) = squares(usize::MAX);
    let calls = [1, 2, 3].map(|n| spawn(&squares, n));
    settle().await;
    calls[1].abort();
    let [first, _, third] = calls;
    assert_eq!((first.await.unwrap(), third.await.unwrap()), (1, 9));
    assert_eq!(*seen.lock().unwrap(), [[1, 3]]);
}

#[tokio::test(start_paused = true)]
async fn if_all_leave_nothing_runs_and_the_next_call_has_a_window_of_its_own() {
    let (squares, seen) = squares(usize::MAX);
    let gone = [spawn(&squares, 1), spawn(&squares, 2)];
    sleep(LEEWAY * 9 / 10).await;
    for call in &gone {
        call.abort();
    }
    settle().await;
    assert_eq!(squares.stats().waiting, 0);
    // Neither its task nor its timer is left.
    assert_eq!(tokio::runtime::Handle::current().metrics().num_alive_tasks(), 0);
    let start = Instant::now();
    assert_eq!(spawn(&squares, 3).await.unwrap(), 9);
    assert_eq!(start.elapsed(), LEEWAY);
    assert_eq!(*seen.lock().unwrap(), [[3]]);
    assert_eq!((squares.stats().abandoned, squares.stats().batches), (2, 1));
}

#[tokio::test(start_paused = true)]
async fn nothing_runs_if_all_leave_a_full_batch_before_its_task_was_polled() {
    let runs = Count::new();
    let (plain, slots) = (runs.clone(), runs.clone());
    let plain = Aggregator::builder().max_count(2).build(move |ns: Vec<u64>| {
        plain.add();
        async move { ns }
    });
    let slots = Aggregator::builder().max_count(2).build_slots(move |of: Vec<Slot<u64, u64>>| {
        slots.add();
        async move { drop(of) }
    });
    let mut plain_calls = [ByHand::new(plain.call(1)), ByHand::new(plain.call(2))];
    for call in &mut plain_calls {
        call.pending();
    }
    let mut slot_calls = [ByHand::new(slots.call(1)), ByHand::new(slots.call(2))];
    for call in &mut slot_calls {
        call.pending();
    }
    assert_eq!((plain.stats().running, slots.stats().running), (1, 1));
    drop((plain_calls, slot_calls));
    settle().await;
    assert_eq!(runs.get(), 0);
    assert_eq!((plain.stats().running, slots.stats().running), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn a_panic_reaches_its_batch_alone() {
    let touchy = Aggregator::builder().max_count(2).build(|ns: Vec<u64>| {
        assert!(!ns.contains(&1), "called with a one");
        async move {
            assert!(!ns.contains(&3), "polled with a three");
            ns
        }
    });
    for (n, said) in [(1, "called with a one"), (3, "polled with a three")] {
        let (a, b) = tokio::join!(touchy.call(n), touchy.call(0));
        for answer in [a, b] {
            let Err(AggregateError::Panicked(panicked)) = answer else { panic!("{answer:?}") };
            assert_eq!(panicked.message(), said);
        }
    }
    let (a, b) = tokio::join!(touchy.call(8), touchy.call(9));
    assert_eq!((a.unwrap(), b.unwrap()), (8, 9));
    assert_eq!((touchy.stats().panics, touchy.stats().running), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn answers_already_set_stand_when_the_function_panics() {
    let late =
        Aggregator::builder().max_count(2).build_slots(|slots: Vec<Slot<u64, u64>>| async move {
            slots[0].set(7);
            panic!("too late for one of them");
        });
    let (a, b) = tokio::join!(late.call(1), late.call(2));
    assert_eq!(a.unwrap(), 7);
    assert!(matches!(b, Err(AggregateError::Panicked(_))), "{b:?}");
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_one_never_waits() {
    let (squares, seen) = squares(1);
    let start = Instant::now();
    let answers = join_all((0..3).map(|n| squares.call(n))).await;
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [0, 1, 4]);
    assert_eq!((start.elapsed(), seen.lock().unwrap().len()), (Duration::ZERO, 3));
}

/// Batches of ten that take one leeway, and the most that ran at once.
async fn overlap(max_concurrent: Option<usize>) -> (usize, Duration) {
    let (running, most) = (Count::new(), Arc::new(Mutex::new((0usize, 0usize))));
    let seen = Arc::clone(&most);
    let mut builder = Aggregator::builder().leeway(LEEWAY).max_count(10);
    if let Some(limit) = max_concurrent {
        builder = builder.max_concurrent(limit);
    }
    let slow = builder.build(move |ns: Vec<u64>| {
        running.add();
        let seen = Arc::clone(&seen);
        async move {
            {
                let mut seen = seen.lock().unwrap();
                seen.0 += 1;
                seen.1 = seen.1.max(seen.0);
            }
            sleep(LEEWAY).await;
            seen.lock().unwrap().0 -= 1;
            ns
        }
    });
    let start = Instant::now();
    for (n, answer) in join_all((0..100).map(|n| slow.call(n))).await.into_iter().enumerate() {
        assert_eq!(answer.unwrap(), n as u64);
    }
    let most = most.lock().unwrap().1;
    (most, start.elapsed())
}

#[tokio::test(start_paused = true)]
async fn batches_overlap_unless_they_are_limited() {
    assert_eq!(overlap(None).await, (10, LEEWAY));
    assert_eq!(overlap(Some(2)).await, (2, LEEWAY * 5));
}

#[tokio::test(start_paused = true)]
async fn calls_that_wait_for_a_place_fill_the_open_batch() {
    let (gate, seen) = (Gate::new(), Seen::default());
    let (passed, batches) = (gate.clone(), Arc::clone(&seen));
    let slow = Aggregator::builder().leeway(LEEWAY).max_count(4).max_concurrent(1).build(
        move |ns: Vec<u64>| {
            batches.lock().unwrap().push(ns.clone());
            let gate = passed.clone();
            async move {
                gate.pass().await;
                ns
            }
        },
    );
    let mut calls = vec![spawn(&slow, 0)];
    sleep(LEEWAY).await;
    settle().await;
    for n in 1..=6 {
        sleep(LEEWAY * 2).await;
        calls.push(spawn(&slow, n));
    }
    settle().await;
    assert_eq!(slow.stats().running, 1);
    for _ in 0..3 {
        gate.open();
        sleep(LEEWAY).await;
    }
    for (n, call) in calls.into_iter().enumerate() {
        assert_eq!(call.await.unwrap(), n as u64);
    }
    assert_eq!(*seen.lock().unwrap(), [vec![0], vec![1, 2, 3, 4], vec![5, 6]]);
}

#[tokio::test(start_paused = true)]
async fn immediate_batches_go_as_soon_as_there_is_a_place() {
    let (gate, seen) = (Gate::new(), Seen::default());
    let (passed, batches) = (gate.clone(), Arc::clone(&seen));
    let eager = Aggregator::builder().immediate().max_concurrent(1).build(move |ns: Vec<u64>| {
        batches.lock().unwrap().push(ns.clone());
        let gate = passed.clone();
        async move {
            gate.pass().await;
            ns
        }
    });
    let start = Instant::now();
    let first = spawn(&eager, 1);
    settle().await;
    let rest = [2, 3].map(|n| spawn(&eager, n));
    settle().await;
    gate.open();
    gate.open();
    first.await.unwrap();
    for call in rest {
        call.await.unwrap();
    }
    assert_eq!(start.elapsed(), Duration::ZERO);
    assert_eq!(*seen.lock().unwrap(), [vec![1], vec![2, 3]]);
}

#[tokio::test(start_paused = true)]
async fn a_call_beyond_max_waiting_is_full_and_a_leaver_makes_room() {
    let echo =
        Aggregator::builder().leeway(LEEWAY).max_waiting(2).build(|ns: Vec<u64>| async move { ns });
    let calls = [spawn(&echo, 1), spawn(&echo, 2)];
    settle().await;
    assert!(matches!(echo.call(3).await, Err(AggregateError::Full)));
    calls[0].abort();
    settle().await;
    assert_eq!(echo.call(4).await.unwrap(), 4);
    assert_eq!(echo.call(5).await.unwrap(), 5);
    let [_, second] = calls;
    assert_eq!(second.await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_map_answers_by_argument_equal_ones_alike() {
    let users = Aggregator::builder().leeway(LEEWAY).build(|ids: Vec<u64>| async move {
        ids.into_iter()
            .filter(|id| *id < 100)
            .map(|id| (id, format!("user {id}")))
            .collect::<HashMap<_, _>>()
    });
    let answers = join_all([7, 700, 7, 8].map(|id| users.call(id))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    let name = |id| Some(format!("user {id}"));
    assert_eq!(answers, [name(7), None, name(7), name(8)]);
}

#[tokio::test(start_paused = true)]
async fn equal_arguments_go_as_often_as_they_are_called_unless_dedupe() {
    let (squares, seen) = squares(3);
    join_all([2, 2, 2].map(|n| squares.call(n))).await;
    assert_eq!(*seen.lock().unwrap(), [[2, 2, 2]]);

    let seen = Seen::default();
    let batches = Arc::clone(&seen);
    let once =
        Aggregator::builder().leeway(LEEWAY).max_count(3).dedupe().build(move |ns: Vec<u64>| {
            batches.lock().unwrap().push(ns.clone());
            async move { ns.into_iter().map(|n| n.to_string()).collect::<Vec<_>>() }
        });
    let answers = join_all([2, 2, 5, 2, 5, 7, 9].map(|n| once.call(n))).await;
    let answers: Vec<_> = answers.into_iter().map(Result::unwrap).collect();
    assert_eq!(answers, ["2", "2", "5", "2", "5", "7", "9"]);
    assert_eq!(*seen.lock().unwrap(), [vec![2, 5, 7], vec![9]]);
}

/// Equal to its own number alone, whatever its hash says.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Colliding(u64);

impl Hash for Colliding {
    fn hash<H: Hasher>(&self, _: &mut H) {}
}

#[tokio::test(start_paused = true)]
async fn dedupe_tells_arguments_apart_whose_hashes_are_equal() {
    let once = Aggregator::builder().leeway(LEEWAY).dedupe().build(|ns: Vec<Colliding>| {
        assert_eq!(ns.len(), 3);
        async move { ns.into_iter().map(|n| n.0).collect::<Vec<_>>() }
    });
    let answers = join_all([1, 2, 1, 3].map(|n| once.call(Colliding(n)))).await;
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), [1, 2, 1, 3]);
}

#[tokio::test(start_paused = true)]
async fn dedupe_sets_the_slots_of_equal_arguments_together() {
    let once = Aggregator::builder().leeway(LEEWAY).dedupe().build_slots(
        |slots: Vec<Slot<u64, String>>| async move {
            assert_eq!(slots.len(), 2);
            slots.iter().for_each(|slot| slot.set(slot.value().to_string()));
        },
    );
    let answers = join_all([2, 5, 2].map(|n| once.call(n))).await;
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), ["2", "5", "2"]);
}

#[tokio::test(start_paused = true)]
async fn call_many_answers_in_order_over_several_batches() {
    let (squares, seen) = squares(4);
    let answers = squares.call_many(0..10).await;
    let expected: Vec<_> = (0..10).map(|n| n * n).collect();
    assert_eq!(answers.into_iter().map(Result::unwrap).collect::<Vec<_>>(), expected);
    assert_eq!(*seen.lock().unwrap(), [vec![0, 1, 2, 3], vec![4, 5, 6, 7], vec![8, 9]]);
    assert!(squares.call_many([]).await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn flush_sends_what_waits_and_may_be_awaited() {
    let (squares, _) = squares(usize::MAX);
    let start = Instant::now();
    let call = spawn(&squares, 3);
    settle().await;
    squares.flush().await;
    assert_eq!(call.await.unwrap(), 9);
    let call = spawn(&squares, 4);
    settle().await;
    drop(squares.flush());
    assert_eq!(call.await.unwrap(), 16);
    squares.flush().await;
    assert_eq!(start.elapsed(), Duration::ZERO);
}

#[test]
fn zeros_are_refused_by_name() {
    use reducer_tests::panics;
    let said = panics(|| Aggregator::builder().leeway(Duration::ZERO));
    assert!(said.contains("`leeway`") && said.contains("immediate()"), "{said}");
    assert!(panics(|| Aggregator::builder().max_count(0)).contains("`max_count`"));
    assert!(panics(|| Aggregator::builder().max_concurrent(0)).contains("`max_concurrent`"));
    assert!(panics(|| Aggregator::builder().max_waiting(0)).contains("`max_waiting`"));
    let _ = Aggregator::builder().immediate().leeway(Duration::ZERO);
}
