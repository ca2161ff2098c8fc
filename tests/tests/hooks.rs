//! Hooks: one event for every call's place, one for every flight's end, in order, under no lock, and no
//! harm whatever they do.

use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use reducer_core::{
    Call, DebugHooks, Hooks, Reducer, Role, StatisticsDetailHooks, StatisticsOverallHooks,
    reduceable,
};
use reducer_tests::{ByHand, Gate, never_runs, panics};

/// Writes down the names of events.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<String>>>);

impl Log {
    fn note(&self, event: &str, call: &Call<'_>) {
        let role = match call.role() {
            Role::Led => "leader",
            Role::Joined => "follower",
        };
        self.0.lock().unwrap().push(format!("{event} {} {role}", call.key()));
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Hooks for Log {
    fn on_apply(&self, call: &Call<'_>) {
        self.note("apply", call);
    }
    fn on_executing(&self, call: &Call<'_>) {
        self.note("executing", call);
    }
    fn on_reducing(&self, call: &Call<'_>) {
        self.note("reducing", call);
    }
    fn on_result(&self, call: &Call<'_>) {
        self.note("result", call);
    }
    fn on_error(&self, call: &Call<'_>) {
        self.note("error", call);
    }
    fn on_cancelled(&self, call: &Call<'_>) {
        self.note("cancelled", call);
    }
    fn on_refused(&self, call: &Call<'_>) {
        self.note("refused", call);
    }
}

fn logged() -> (Log, Reducer) {
    let log = Log::default();
    let reducer = Reducer::builder().hooks(log.clone()).build();
    (log, reducer)
}

async fn after(gate: Gate, value: Result<u32, String>) -> Result<u32, String> {
    gate.pass().await;
    value
}

#[test]
fn each_call_is_told_once_and_each_flight_ends_once() {
    let (log, reducer) = logged();
    let gate = Gate::new();
    let mut a = ByHand::new(reducer.reduce(1, after(gate.clone(), Ok(1))));
    let mut b = ByHand::new(reducer.reduce(1, after(gate.clone(), Ok(1))));
    assert!(log.take().is_empty(), "nothing happens before the first poll");
    a.pending();
    b.pending();
    assert_eq!(
        log.take(),
        ["apply 1 leader", "executing 1 leader", "apply 1 follower", "reducing 1 follower"]
    );
    gate.open();
    b.ready().unwrap();
    a.ready().unwrap();
    assert_eq!(log.take(), ["result 1 leader"]);
}

#[test]
fn an_err_is_an_error_through_the_core_api() {
    let (log, reducer) = logged();
    let mut call = ByHand::new(reducer.reduce(1, async { Err::<u32, _>("no") }));
    call.ready().unwrap_err();
    assert_eq!(log.take().last().unwrap(), "error 1 leader");
    // Whatever the types, and whatever is inside.
    #[derive(Clone)]
    struct Own;
    let mut call = ByHand::new(reducer.reduce(2, async { Err::<Option<Own>, _>(Own) }));
    assert!(call.ready().is_err());
    assert_eq!(log.take().last().unwrap(), "error 2 leader");
    let mut call = ByHand::new(reducer.reduce(3, async { Some(Err::<Own, _>(Own)) }));
    call.ready();
    assert_eq!(log.take().last().unwrap(), "result 3 leader");
}

#[test]
fn an_err_is_an_error_through_the_attribute_in_tasks_and_in_threads() {
    static LOG: OnceLock<Log> = OnceLock::new();
    static REDUCER: OnceLock<Reducer> = OnceLock::new();
    fn reducer() -> &'static Reducer {
        REDUCER
            .get_or_init(|| Reducer::builder().hooks(LOG.get_or_init(Log::default).clone()).build())
    }
    #[reduceable(reducer = reducer())]
    async fn task(id: u32, name: &str) -> Result<String, String> {
        if id == 0 { Err("zero".into()) } else { Ok(name.to_owned()) }
    }
    #[reduceable(reducer = reducer())]
    fn thread(id: u32) -> Result<u32, String> {
        if id == 0 { Err("zero".into()) } else { Ok(id) }
    }
    let ends = || LOG.get().unwrap().take().pop().unwrap();
    ByHand::new(task(0, "a")).ready().unwrap_err();
    assert_eq!(ends(), "error 0, \"a\" leader");
    ByHand::new(task(1, "b")).ready().unwrap();
    assert_eq!(ends(), "result 1, \"b\" leader");
    thread(0).unwrap_err();
    assert_eq!(ends(), "error 0 leader");
    thread(1).unwrap();
    assert_eq!(ends(), "result 1 leader");
}

#[test]
fn a_panic_is_an_error_however_the_work_came_to_it() {
    let (log, reducer) = logged();
    let mut polled = ByHand::new(reducer.reduce(1, async { panic!("polled") }));
    panics(|| polled.poll());
    let mut built =
        ByHand::new(reducer.reduce_with(2, || -> std::future::Ready<()> { panic!("built") }));
    panics(|| built.poll());
    panics(|| reducer.reduce_blocking(3, || -> () { panic!("in a thread") }));
    let events = log.take();
    let errors: Vec<_> = events.iter().filter(|event| event.starts_with("error")).collect();
    assert_eq!(errors, ["error 1 leader", "error 2 leader", "error 3 leader"]);
}

#[tokio::test(start_paused = true)]
async fn a_time_out_is_an_error_and_tells_how_long_it_took() {
    #[derive(Default)]
    struct Took(Mutex<Option<(Duration, String)>>);
    impl Hooks for Took {
        fn on_error(&self, call: &Call<'_>) {
            let error = call.error().unwrap().to_string();
            *self.0.lock().unwrap() = Some((call.elapsed(), error));
        }
    }
    let took = Arc::new(Took::default());
    let limit = Duration::from_secs(2);
    let reducer = Reducer::builder().timeout(limit).hooks(Arc::clone(&took)).build();
    reducer.try_reduce(1, std::future::pending::<()>()).await.unwrap_err();
    let (elapsed, error) = took.0.lock().unwrap().take().unwrap();
    assert!(elapsed >= limit && elapsed < limit + Duration::from_millis(2), "{elapsed:?}");
    assert!(error.contains("2s"), "{error}");
}

#[test]
fn a_flight_that_all_callers_leave_is_cancelled_and_one_that_some_leave_is_not() {
    let (log, reducer) = logged();
    let gate = Gate::new();
    let call = || reducer.reduce(1, after(gate.clone(), Ok(1)));
    let (mut a, mut b, mut c) = (ByHand::new(call()), ByHand::new(call()), ByHand::new(call()));
    a.pending();
    b.pending();
    c.pending();
    log.take();
    drop(a);
    drop(c);
    assert!(log.take().is_empty());
    drop(b);
    assert_eq!(log.take(), ["cancelled 1 leader"]);
}

#[test]
fn a_refused_call_is_told_as_such_and_counts_nowhere_else() {
    let log = Log::default();
    let stats = StatisticsOverallHooks::new();
    let reducer =
        Reducer::builder().max_followers(0).hooks(log.clone()).hooks(stats.clone()).build();
    let gate = Gate::new();
    let mut first = ByHand::new(reducer.try_reduce(2, after(gate.clone(), Ok(1))));
    first.pending();
    let mut second = ByHand::new(reducer.try_reduce(2, after(gate, Ok(1))));
    assert!(second.ready().is_err());
    assert_eq!(log.take()[2..], ["refused 2 follower"]);
    assert_eq!((stats.total(), stats.refused()), (1, 1));
    drop(first);
    // And one that is never polled is no call at all.
    drop(ByHand::new(reducer.try_reduce(1, never_runs::<()>())));
    assert_eq!(stats.total(), 1);
}

#[test]
fn the_counts_are_there_before_any_caller_has_its_outcome() {
    let stats = StatisticsOverallHooks::new();
    let reducer = Reducer::builder().hooks(stats.clone()).build();
    for round in 1..=200 {
        std::thread::scope(|threads| {
            for _ in 0..2 {
                threads.spawn(|| {
                    let outcome = reducer.reduce_blocking(1, || Err::<(), _>("no"));
                    assert!(outcome.is_err());
                    assert!(stats.errors() >= 1);
                });
            }
        });
        assert_eq!(stats.total(), 2 * round);
        assert_eq!(stats.errors(), stats.executed());
    }
}

#[test]
fn everybody_who_joined_is_counted_and_has_the_same_flight() {
    #[derive(Default)]
    struct Ends(Mutex<Vec<(u64, usize)>>, Mutex<Vec<u64>>);
    impl Hooks for Ends {
        fn on_apply(&self, call: &Call<'_>) {
            self.1.lock().unwrap().push(call.flight());
        }
        fn on_result(&self, call: &Call<'_>) {
            self.0.lock().unwrap().push((call.flight(), call.followers()));
        }
    }
    let ends = Arc::new(Ends::default());
    let reducer = Reducer::builder().hooks(Arc::clone(&ends)).build();
    let gate = Gate::new();
    let mut calls: Vec<_> =
        (0..5).map(|_| ByHand::new(reducer.reduce(1, after(gate.clone(), Ok(1))))).collect();
    calls.iter_mut().for_each(|call| {
        call.pending();
    });
    // One that leaves has been a follower all the same.
    calls.pop();
    gate.open();
    calls.iter_mut().for_each(|call| {
        call.ready().unwrap();
    });
    ByHand::new(reducer.reduce(1, async { Ok::<u32, String>(1) })).ready().unwrap();
    let (ends, applied) = (ends.0.lock().unwrap(), ends.1.lock().unwrap());
    assert_eq!([ends[0].1, ends[1].1], [4, 0]);
    assert!(applied[..5].iter().all(|number| *number == ends[0].0));
    assert_ne!(ends[0].0, ends[1].0);
}

/// Panics at every event.
struct Bomb;

impl Hooks for Bomb {
    fn on_apply(&self, _: &Call<'_>) {
        panic!("apply");
    }
    fn on_executing(&self, _: &Call<'_>) {
        panic!("executing");
    }
    fn on_reducing(&self, _: &Call<'_>) {
        panic!("reducing");
    }
    fn on_result(&self, _: &Call<'_>) {
        panic!("result");
    }
    fn on_error(&self, _: &Call<'_>) {
        panic!("error");
    }
    fn on_cancelled(&self, _: &Call<'_>) {
        panic!("cancelled");
    }
}

#[test]
fn a_hook_that_panics_harms_no_flight_and_no_other_hook() {
    let (stats, and) = (StatisticsOverallHooks::new(), StatisticsOverallHooks::new());
    let reducer = Reducer::builder().hooks(Bomb.and(and.clone())).hooks(stats.clone()).build();
    let gate = Gate::new();
    let mut a = ByHand::new(reducer.reduce(1, after(gate.clone(), Ok(1))));
    let mut b = ByHand::new(reducer.reduce(1, after(gate.clone(), Ok(1))));
    a.pending();
    b.pending();
    gate.open();
    assert_eq!((a.ready(), b.ready()), (Ok(1), Ok(1)));
    ByHand::new(reducer.reduce(2, async { Err::<(), _>(()) })).ready().unwrap_err();
    let mut dropped = ByHand::new(reducer.reduce(3, std::future::pending::<()>()));
    dropped.pending();
    drop(dropped);
    assert_eq!(reducer.reduce_blocking(4, || 4), 4);
    for stats in [stats, and] {
        assert_eq!(stats.to_string(), "Stats(total=5, executed=4, reduced=1, errors=1)");
        assert_eq!(stats.cancelled(), 1);
    }
    assert_eq!(reducer.in_flight(), 0);
}

/// Calls the reducer, for the same key and for another, at every event.
#[derive(Default)]
struct Meddler(OnceLock<Reducer>, Mutex<Vec<String>>);

thread_local! {
    static MEDDLING: std::cell::Cell<bool> = const { std::cell::Cell::new(false) };
}

impl Meddler {
    fn meddle(&self, event: &str) {
        // Or its own calls would have it call for ever.
        if MEDDLING.replace(true) {
            return;
        }
        let reducer = self.0.get().unwrap();
        reducer.reduce_blocking("another", || ());
        reducer.forget(&"none");
        let same = reducer.try_reduce_blocking(1, || Ok::<u32, String>(2));
        let mut line = event.to_owned();
        match same {
            Ok(done) => write!(line, ": {:?}", done.role).unwrap(),
            Err(error) => write!(line, ": {}", &format!("{error:?}")[..9]).unwrap(),
        }
        self.1.lock().unwrap().push(line);
        MEDDLING.set(false);
    }
}

impl Hooks for Meddler {
    fn on_executing(&self, _: &Call<'_>) {
        self.meddle("executing");
    }
    fn on_result(&self, _: &Call<'_>) {
        self.meddle("result");
    }
    fn on_cancelled(&self, _: &Call<'_>) {
        self.meddle("cancelled");
    }
}

#[test]
fn a_hook_may_call_the_reducer_for_the_same_key_and_nothing_hangs() {
    let meddler = Arc::new(Meddler::default());
    let reducer = Reducer::builder().hooks(Arc::clone(&meddler)).build();
    meddler.0.set(reducer.clone()).unwrap();
    assert_eq!(ByHand::new(reducer.reduce(1, async { Ok::<u32, String>(1) })).ready(), Ok(1));
    assert_eq!(reducer.reduce_blocking(1, || Ok::<u32, String>(1)), Ok(1));
    let mut dropped = ByHand::new(reducer.reduce(1, after(Gate::new(), Ok(1))));
    dropped.pending();
    drop(dropped);
    let lines = meddler.1.lock().unwrap();
    // A leader's hook is called from inside its flight; at the end of a flight the key is as good as free.
    let expected = ["executing: Reentrant", "result: Led"];
    assert_eq!(lines[..4], [expected, expected].concat(), "{lines:?}");
    assert_eq!(lines[4..], ["executing: Reentrant", "cancelled: Led"], "{lines:?}");
    assert_eq!(reducer.in_flight(), 0);
}

#[test]
fn several_hooks_are_called_in_the_order_given() {
    struct Named(&'static str, Arc<Mutex<Vec<&'static str>>>);
    impl Hooks for Named {
        fn on_executing(&self, _: &Call<'_>) {
            self.1.lock().unwrap().push(self.0);
        }
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let named = |name| Named(name, Arc::clone(&order));
    let reducer = Reducer::builder()
        .hooks(named("a").and(named("b")))
        .hooks(Box::new(named("c")) as Box<dyn Hooks>)
        .hooks(named("d"))
        .build();
    ByHand::new(reducer.reduce(1, async {})).ready();
    assert_eq!(*order.lock().unwrap(), ["a", "b", "c", "d"]);
}

// What the original's own tests say, with its four calls.

async fn foo(arg: u32) -> Result<u32, &'static str> {
    tokio::task::yield_now().await;
    Ok(arg)
}

async fn foo_error() -> Result<u32, &'static str> {
    tokio::task::yield_now().await;
    Err("test")
}

async fn four_calls(hooks: impl Hooks) {
    let reducer = Reducer::builder().hooks(hooks).build();
    let _ = tokio::join!(
        reducer.reduce(1, foo(1)),
        reducer.reduce(1, foo(1)),
        reducer.reduce(2, foo(2)),
        reducer.reduce(3, foo_error()),
    );
}

#[tokio::test]
async fn overall_statistics_as_the_original_has_them() {
    let stats = StatisticsOverallHooks::new();
    four_calls(stats.clone()).await;
    assert_eq!(
        (stats.total(), stats.executed(), stats.reduced(), stats.errors()),
        // The original counts two executions here, and so three calls of four.
        (4, 3, 1, 1)
    );
    assert_eq!(stats.to_string(), "Stats(total=4, executed=3, reduced=1, errors=1)");
}

#[tokio::test]
async fn detail_statistics_as_the_original_has_them() {
    let stats = StatisticsDetailHooks::new();
    four_calls(stats.clone()).await;
    assert_eq!(stats.total(), [("hooks::foo", 3), ("hooks::foo_error", 1)]);
    assert_eq!(stats.executed(), [("hooks::foo", 2), ("hooks::foo_error", 1)]);
    assert_eq!(stats.reduced(), [("hooks::foo", 1)]);
    assert_eq!(stats.errors(), [("hooks::foo_error", 1)]);
    assert_eq!(
        stats.to_string(),
        "Top total:\n\thooks::foo: 3\n\thooks::foo_error: 1\n\
         Top executed:\n\thooks::foo: 2\n\thooks::foo_error: 1\n\
         Top reduced:\n\thooks::foo: 1\n\
         Top errors:\n\thooks::foo_error: 1\n"
    );
}

#[derive(Clone, Default)]
struct Written(Arc<Mutex<Vec<u8>>>);

impl io::Write for Written {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn debug_lines_as_the_original_has_them() {
    let written = Written::default();
    four_calls(DebugHooks::to(written.clone())).await;
    let text = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
    let lines: Vec<_> = text
        .lines()
        .map(|line| {
            let (head, rest) = line.split_once(" #").unwrap();
            format!("{head} {}", rest.split_once("] ").unwrap().1)
        })
        .collect();
    assert_eq!(
        lines,
        [
            "[hooks::foo(1) apply reduce()",
            "[hooks::foo(1) executing",
            "[hooks::foo(1) apply reduce()",
            "[hooks::foo(1) reducing",
            "[hooks::foo(2) apply reduce()",
            "[hooks::foo(2) executing",
            "[hooks::foo_error(3) apply reduce()",
            "[hooks::foo_error(3) executing",
            "[hooks::foo(1) result: Ok(1)",
            "[hooks::foo(2) result: Ok(2)",
            "[hooks::foo_error(3) get error: Err(\"test\")",
        ]
    );
}

#[test]
fn a_writer_that_fails_or_panics_disturbs_nobody() {
    struct Broken(bool);
    impl io::Write for Broken {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            assert!(!self.0, "broken");
            Err(io::ErrorKind::BrokenPipe.into())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }
    for broken in [false, true] {
        let reducer = Reducer::builder().hooks(DebugHooks::to(Broken(broken))).build();
        assert_eq!(ByHand::new(reducer.reduce(1, async { 1 })).ready(), 1);
    }
}

#[test]
fn counts_of_many_threads_add_up() {
    let stats = StatisticsOverallHooks::new();
    let detail = StatisticsDetailHooks::new();
    let reducer = Reducer::builder().hooks(stats.clone().and(detail.clone())).build();
    std::thread::scope(|threads| {
        for thread in 0..8 {
            let reducer = &reducer;
            threads.spawn(move || {
                for call in 0..500 {
                    reducer.reduce_blocking(call % 7 + thread % 2, || call);
                }
            });
        }
    });
    assert_eq!(stats.total(), 4_000);
    assert_eq!(stats.executed() + stats.reduced(), 4_000);
    assert_eq!(detail.total().iter().map(|(_, count)| count).sum::<u64>(), 4_000);
}

// Batches, told of by the same hooks.

#[tokio::test(start_paused = true)]
async fn a_batch_is_told_like_a_flight() {
    use reducer_core::Aggregator;
    let log = Log::default();
    let stats = StatisticsOverallHooks::new();
    let squares = Aggregator::builder()
        .max_count(3)
        .max_waiting(3)
        .hooks(log.clone())
        .hooks(stats.clone())
        .build(|numbers: Vec<u32>| async move {
            assert!(!numbers.contains(&13), "unlucky");
            if numbers.contains(&0) { Err("zero") } else { Ok(numbers) }
        });
    squares.call_many([1, 2, 3]).await.into_iter().for_each(|answer| {
        answer.unwrap();
    });
    assert_eq!(
        log.take(),
        [
            "apply .. leader",
            "executing .. leader",
            "apply .. follower",
            "reducing .. follower",
            "apply .. follower",
            "reducing .. follower",
            "result .. leader"
        ]
    );
    squares.call(0).await.unwrap_err();
    assert_eq!(log.take()[2..], ["error .. leader"]);
    squares.call(13).await.unwrap_err();
    assert_eq!(log.take()[2..], ["error .. leader"]);
    let mut left = ByHand::new(squares.call(5));
    left.pending();
    drop(left);
    tokio::task::yield_now().await;
    assert_eq!(log.take()[2..], ["cancelled .. leader"]);
    assert_eq!(
        (stats.total(), stats.executed(), stats.errors(), stats.panics(), stats.cancelled()),
        (6, 4, 2, 1, 1)
    );
}

#[test]
fn a_hook_that_counts_nothing_may_call_for_the_key_of_work_that_could_not_be_built() {
    #[derive(Default)]
    struct Again(OnceLock<Reducer>, Mutex<Option<String>>);
    impl Hooks for Again {
        fn on_error(&self, _: &Call<'_>) {
            let again = self.0.get().unwrap().try_reduce_blocking(1, || ());
            *self.1.lock().unwrap() = Some(format!("{again:?}"));
        }
        fn measures(&self) -> bool {
            false
        }
    }
    let again = Arc::new(Again::default());
    let reducer = Reducer::builder().hooks(Arc::clone(&again)).build();
    again.0.set(reducer.clone()).unwrap();
    let mut call =
        ByHand::new(reducer.reduce_with(1, || -> std::future::Ready<()> { panic!("no") }));
    panics(|| call.poll());
    assert!(again.1.lock().unwrap().is_some(), "it came back");
    assert_eq!(reducer.in_flight(), 0);
}
