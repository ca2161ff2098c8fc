//! Fixed programs whose instructions and allocations can be counted: each makes so many calls, one after another.
//!
//! `../guard` runs it, and holds the counts against `../guard.txt`. Prints how often it allocated. What differs
//! between two numbers of calls is the calls' own: nothing here depends on the clock.

use std::future::{Future, ready};
use std::hint::black_box;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use benches::allocations::allocations;
use benches::floor::Floor;
use benches::work::{Events, Plan, Value, drive, work};
use futures_util::StreamExt as _;
use reducer_core::{Aggregator, Meter, Reducer, StatisticsOverallHooks, reduceable};
use tokio::runtime::Builder;

type Program = (&'static str, fn(u64));

const PROGRAMS: [Program; 14] = [
    ("floor-2", floor),
    ("reduce", |calls| reduce(&Reducer::new(), calls, 0)),
    ("reduce-statistics", |calls| {
        reduce(&Reducer::builder().hooks(StatisticsOverallHooks::new()).build(), calls, 0);
    }),
    ("reduce-suspends-once", |calls| reduce(&Reducer::new(), calls, 1)),
    ("reduce-in-a-task", in_a_task),
    ("attribute", |calls| (0..calls).for_each(|key| drop(black_box(drive(by_number(key)))))),
    ("attribute-suspends", |calls| (0..calls).for_each(|key| drop(black_box(drive(later(key)))))),
    ("attribute-str", attribute_str),
    ("lead-and-join", lead_and_join),
    ("crowd-100", crowd),
    ("blocking", |calls| {
        let reducer = Reducer::new();
        for key in 0..calls {
            black_box(reducer.reduce_blocking(key, || Arc::new(black_box(key))));
        }
    }),
    ("attribute-blocking", |calls| {
        (0..calls).for_each(|key| drop(black_box(in_a_thread(key))));
    }),
    ("aggregate-100", aggregate),
    ("meter-1000", meter),
];

fn main() {
    let mut args = std::env::args().skip(1);
    let Some(name) = args.next() else {
        return PROGRAMS.iter().for_each(|(name, _)| println!("{name}"));
    };
    let calls = args.next().and_then(|calls| calls.parse().ok()).expect("how many calls");
    let (_, program) = PROGRAMS.iter().find(|program| program.0 == name).expect("a program");
    let before = allocations();
    program(calls);
    println!("{}", allocations() - before);
}

fn floor(calls: u64) {
    let floor = Floor::default();
    for key in 0..calls {
        black_box(drive(floor.call(key, work(key, 0))));
    }
}

fn reduce(reducer: &Reducer, calls: u64, suspensions: u16) {
    for key in 0..calls {
        black_box(drive(reducer.reduce(key, work(key, suspensions))));
    }
}

/// Each call's work lets the runtime's other tasks run once, of which there are none.
fn in_a_task(calls: u64) {
    let (runtime, reducer) =
        (Builder::new_current_thread().build().expect("a runtime can be built"), Reducer::new());
    let task = runtime.spawn(async move {
        for key in 0..calls {
            black_box(reducer.reduce_with(key, || Plan::Yields(1).work(key)).await);
        }
    });
    runtime.block_on(task).expect("it does not panic");
}

#[reduceable]
async fn by_number(key: u64) -> Value {
    work(key, 0).await
}

#[reduceable]
async fn later(key: u64) -> Value {
    work(key, 1).await
}

#[reduceable]
async fn by_name(key: &str) -> Value {
    work(key.len() as u64, 0).await
}

#[reduceable]
fn in_a_thread(key: u64) -> Value {
    Arc::new(black_box(key))
}

fn attribute_str(calls: u64) {
    // As long as a UUID.
    let keys: Vec<String> = (0..1_000).map(|key| format!("{key:036}")).collect();
    for key in (0..calls).map(|call| &*keys[call as usize % keys.len()]) {
        black_box(drive(by_name(key)));
    }
}

/// A call is a pair here: one leads, the other joins, and both are polled until they have the value.
fn lead_and_join(calls: u64) {
    let reducer = Reducer::new();
    let mut cx = Context::from_waker(Waker::noop());
    for key in 0..calls {
        let mut first = pin!(reducer.reduce_with(key, || work(key, 1)));
        let mut second = pin!(reducer.reduce_with(key, || work(key, 1)));
        assert!(first.as_mut().poll(&mut cx).is_pending());
        // It joins, and then finds that the work is awake still.
        assert!(second.as_mut().poll(&mut cx).is_pending());
        let Poll::Ready(value) = second.as_mut().poll(&mut cx) else { panic!("it drives") };
        assert!(
            matches!(first.as_mut().poll(&mut cx), Poll::Ready(same) if Arc::ptr_eq(&same, &value))
        );
    }
}

/// A hundred at a time call one key, whose work waits for an event from outside.
fn crowd(calls: u64) {
    let (reducer, event) = (Reducer::new(), Events::default());
    let plan = Plan::events(&event, 1);
    let mut cx = Context::from_waker(Waker::noop());
    for key in (0..calls).step_by(100) {
        event.reset();
        let mut callers: [_; 100] =
            std::array::from_fn(|_| Box::pin(reducer.reduce_with(key, || plan.work(key))));
        for caller in &mut callers {
            assert!(caller.as_mut().poll(&mut cx).is_pending());
        }
        event.happen();
        for caller in &mut callers {
            let Poll::Ready(value) = caller.as_mut().poll(&mut cx) else { panic!("it has landed") };
            black_box(value);
        }
    }
}

/// In batches of a hundred.
fn aggregate(calls: u64) {
    let runtime =
        Builder::new_current_thread().enable_time().build().expect("a runtime can be built");
    let doubles = Aggregator::builder()
        // A full batch goes at once.
        .leeway(Duration::from_secs(60))
        .max_count(100)
        .build(|keys: Vec<u64>| ready(keys.iter().map(|key| key * 2).collect::<Vec<_>>()));
    runtime.block_on(async {
        for first in (0..calls).step_by(100) {
            let batch: Vec<_> = (first..first + 100).map(|key| doubles.call(key)).collect();
            for answer in futures_util::future::join_all(batch).await {
                black_box(answer.expect("there is an answer for every key"));
            }
        }
    });
}

/// A thousand jobs at a time.
fn meter(calls: u64) {
    let meter = Meter::new().max_at_once(64);
    for first in (0..calls).step_by(1_000) {
        drive(async {
            let mut results = pin!(meter.amap(first..first + 1_000, |job| work(job, 1)));
            while let Some(result) = results.next().await {
                black_box(result);
            }
        });
    }
}
