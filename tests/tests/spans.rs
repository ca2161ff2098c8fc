//! Feature `tracing`: a flight runs in one span, a child of its leader's, whoever polls it; each caller waits in a
//! span that follows from it.

use std::collections::HashMap;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::task::Poll;
use std::thread;
use std::time::Duration;

use reducer_core::{Call, Hooks, ReduceError, Reduced, Reducer, Role, reduceable};
use reducer_tests::{ByHand, Gate, never_runs};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Dispatch, Event, Subscriber, dispatcher, info, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

#[derive(Debug, Default, Clone)]
struct Seen {
    name: &'static str,
    parent: Option<u64>,
    follows: Vec<u64>,
    fields: HashMap<&'static str, String>,
    closed: bool,
}

#[derive(Clone, Default)]
struct Spans(Arc<Mutex<HashMap<u64, Seen>>>, Arc<Mutex<Vec<Logged>>>);

/// What an event said, and the span it was in.
type Logged = (String, Option<u64>);

struct Fields<'a>(&'a mut HashMap<&'static str, String>);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.insert(field.name(), format!("{value:?}"));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut seen = Seen { name: attributes.metadata().name(), ..Seen::default() };
        seen.parent = context.span(id).unwrap().parent().map(|parent| parent.id().into_u64());
        attributes.record(&mut Fields(&mut seen.fields));
        self.0.lock().unwrap().insert(id.into_u64(), seen);
    }
    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        values.record(&mut Fields(&mut spans.get_mut(&id.into_u64()).unwrap().fields));
    }
    fn on_follows_from(&self, id: &Id, follows: &Id, _: Context<'_, S>) {
        let mut spans = self.0.lock().unwrap();
        spans.get_mut(&id.into_u64()).unwrap().follows.push(follows.into_u64());
    }
    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = HashMap::new();
        event.record(&mut Fields(&mut fields));
        let span = context.event_span(event).map(|span| span.id().into_u64());
        self.1.lock().unwrap().push((fields["message"].clone(), span));
    }
    fn on_close(&self, id: Id, _: Context<'_, S>) {
        self.0.lock().unwrap().get_mut(&id.into_u64()).unwrap().closed = true;
    }
}

impl Spans {
    fn named(&self, name: &str) -> Vec<(u64, Seen)> {
        let spans = self.0.lock().unwrap();
        let mut named: Vec<_> = spans
            .iter()
            .filter(|(_, seen)| seen.name == name)
            .map(|(id, seen)| (*id, seen.clone()))
            .collect();
        named.sort_by_key(|(id, _)| *id);
        named
    }
}

async fn query(gate: Gate) -> u32 {
    info!("before");
    gate.pass().await;
    info!("after");
    7
}

#[test]
fn a_flight_has_one_span_and_each_caller_one_that_follows_from_it() {
    let spans = Spans::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    let reducer = Reducer::new();
    let gate = Gate::new();
    let mut leader = ByHand::new(reducer.reduce(1, query(gate.clone())));
    let mut follower = ByHand::new(reducer.reduce(1, query(gate.clone())));
    let (first, second) = (info_span!("first request"), info_span!("second request"));
    first.in_scope(|| {
        leader.pending();
    });
    second.in_scope(|| {
        follower.pending();
    });
    drop(leader);
    gate.open();
    // The follower drives what the leader began.
    assert_eq!(second.in_scope(|| follower.ready()), 7);
    drop(follower);
    let [(flight, seen)] = &spans.named("flight")[..] else { panic!("one span a flight") };
    assert_eq!(seen.parent, first.id().map(|id| id.into_u64()));
    assert_eq!(seen.fields["followers"], "1");
    assert!(seen.fields["function"].ends_with("spans::query\""), "{seen:?}");
    assert!(seen.closed);
    let waits = spans.named("wait");
    assert_eq!(waits.len(), 2);
    assert!(waits.iter().all(|(_, wait)| wait.follows == [*flight] && wait.closed), "{waits:?}");
    assert_eq!(waits[1].1.parent, second.id().map(|id| id.into_u64()));
    assert_eq!(waits[1].1.fields["role"], "\"follower\"");
    // What the work logs is in its own span, whoever polls it.
    let events = spans.1.lock().unwrap();
    let logged: Vec<_> = events.iter().map(|(text, span)| (text.as_str(), *span)).collect();
    assert_eq!(logged, ["before", "after", "flight landed"].map(|text| (text, Some(*flight))));
}

/// Runs something else, on another thread, while a span of this name is being made.
#[derive(Clone)]
struct During(&'static str, Arc<Mutex<Option<Interlude>>>);

type Interlude = Box<dyn FnOnce() + Send>;

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for During {
    fn on_new_span(&self, attributes: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
        if attributes.metadata().name() == self.0 {
            let interlude = self.1.lock().unwrap().take();
            if let Some(interlude) = interlude {
                std::thread::spawn(interlude).join().unwrap();
            }
        }
    }
}

impl During {
    fn run(&self, interlude: impl FnOnce() + Send + 'static) {
        let dispatch = dispatcher::get_default(Dispatch::clone);
        let interlude = move || dispatcher::with_default(&dispatch, interlude);
        *self.1.lock().unwrap() = Some(Box::new(interlude));
    }
}

#[track_caller]
fn all_are_linked(spans: &Spans) {
    let [(flight, seen)] = &spans.named("flight")[..] else { panic!("one span a flight") };
    let waits = spans.named("wait");
    assert_eq!(waits.len(), 2);
    assert!(waits.iter().all(|(_, wait)| wait.follows == [*flight]), "{waits:?}");
    assert!(seen.closed, "and then it is over");
}

/// A call that may be polled anywhere.
fn call(
    reducer: &Reducer,
    gate: &Gate,
) -> Arc<Mutex<ByHand<impl Future<Output = u32> + Send + use<>>>> {
    let (reducer, gate) = (reducer.clone(), gate.clone());
    Arc::new(Mutex::new(ByHand::new(async move { reducer.reduce(1, query(gate)).await })))
}

#[test]
fn a_follower_that_is_faster_than_the_flights_span_is_linked_all_the_same() {
    let (spans, during) = (Spans::default(), During("flight", Arc::default()));
    let subscriber = tracing_subscriber::registry().with(spans.clone()).with(during.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let (reducer, gate) = (Reducer::new(), Gate::new());
    let (leader, follower) = (call(&reducer, &gate), call(&reducer, &gate));
    let early = Arc::clone(&follower);
    during.run(move || {
        early.lock().unwrap().pending();
    });
    leader.lock().unwrap().pending();
    gate.open();
    assert_eq!(leader.lock().unwrap().ready(), 7);
    assert_eq!(follower.lock().unwrap().ready(), 7);
    all_are_linked(&spans);
}

#[test]
fn a_follower_is_linked_to_a_flight_that_lands_before_its_own_span_is_made() {
    let (spans, during) = (Spans::default(), During("wait", Arc::default()));
    let subscriber = tracing_subscriber::registry().with(spans.clone()).with(during.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let (reducer, gate) = (Reducer::new(), Gate::new());
    let (leader, follower) = (call(&reducer, &gate), call(&reducer, &gate));
    leader.lock().unwrap().pending();
    gate.open();
    during.run(move || assert_eq!(leader.lock().unwrap().ready(), 7));
    assert_eq!(follower.lock().unwrap().ready(), 7);
    all_are_linked(&spans);
}

#[test]
fn the_attribute_and_threads_have_their_spans_too() {
    #[reduceable]
    async fn by_attribute(id: u32) -> u32 {
        info!("inside");
        id
    }
    let spans = Spans::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    ByHand::new(by_attribute(1)).ready();
    Reducer::new().reduce_blocking(1, || info!("in a thread"));
    let flights = spans.named("flight");
    assert!(flights[0].1.fields["function"].contains("by_attribute"), "{flights:?}");
    let events = spans.1.lock().unwrap();
    let of = |text: &str| events.iter().find(|event| event.0 == text).unwrap().1;
    assert_eq!((of("inside"), of("in a thread")), (Some(flights[0].0), Some(flights[1].0)));
}

#[test]
fn a_key_is_never_in_a_span() {
    let spans = Spans::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    let secret = String::from("secret-token");
    ByHand::new(Reducer::new().reduce(secret, async {})).ready();
    let spans = spans.0.lock().unwrap();
    assert!(!format!("{spans:?}").contains("secret-token"));
}

#[test]
fn a_subscriber_that_panics_where_the_work_begins_or_ends_hangs_nobody() {
    struct Bomb(&'static str);
    fn is_flight<S: Subscriber + for<'a> LookupSpan<'a>>(
        id: &Id,
        context: &Context<'_, S>,
    ) -> bool {
        context.span(id).is_some_and(|span| span.name() == "flight")
    }
    impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Bomb {
        fn on_enter(&self, id: &Id, context: Context<'_, S>) {
            assert!(self.0 != "enter" || !is_flight(id, &context), "no entry");
        }
        fn on_exit(&self, id: &Id, context: Context<'_, S>) {
            assert!(self.0 != "exit" || !is_flight(id, &context), "no exit");
        }
    }
    for at in ["enter", "exit"] {
        let _guard =
            tracing::subscriber::set_default(tracing_subscriber::registry().with(Bomb(at)));
        let reducer = Reducer::new();
        let mut call = ByHand::new(reducer.try_reduce(1, async { 1 }));
        let outcomes = [call.ready(), reducer.try_reduce_blocking(1, || 1)];
        for outcome in outcomes {
            match outcome {
                Err(error) => assert!(at == "enter" && error.to_string().contains("no entry")),
                // The work was done by then.
                Ok(reduced) => assert_eq!((at, reduced.value), ("exit", 1)),
            }
        }
        assert_eq!(reducer.in_flight(), 0);
    }
}

#[test]
fn a_subscriber_that_panics_harms_no_flight() {
    struct Bomb;
    impl<S: Subscriber> Layer<S> for Bomb {
        fn on_new_span(&self, _: &Attributes<'_>, _: &Id, _: Context<'_, S>) {
            panic!("no room for a span");
        }
    }
    let _guard = tracing::subscriber::set_default(tracing_subscriber::registry().with(Bomb));
    let reducer = Reducer::new();
    assert_eq!(ByHand::new(reducer.reduce(1, async { 1 })).ready(), 1);
    assert_eq!(reducer.in_flight(), 0);
}

/// Panics once when the span of a wait is left.
#[derive(Clone, Default)]
struct NoExit(Arc<AtomicBool>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for NoExit {
    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        let wait = context.span(id).is_some_and(|span| span.name() == "wait");
        assert!(!wait || !self.0.swap(false, SeqCst), "no exit");
    }
}

#[test]
fn a_flight_that_has_landed_is_not_ended_again_when_its_callers_span_panics() {
    #[derive(Clone, Default)]
    struct Ends(Arc<Mutex<Vec<&'static str>>>);
    impl Hooks for Ends {
        fn on_result(&self, _: &Call<'_>) {
            self.0.lock().unwrap().push("result");
        }
        fn on_cancelled(&self, _: &Call<'_>) {
            self.0.lock().unwrap().push("cancelled");
        }
    }
    let bomb = NoExit::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(bomb.clone()));
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    for (detached, steps) in [(false, 0), (false, 1), (true, 0), (true, 1)] {
        let ends = Ends::default();
        let reducer = Reducer::builder().hooks(ends.clone()).detached(detached).build();
        let gate = Gate::new();
        let work = gate.clone();
        let mut call = Box::new(ByHand::new(reducer.reduce(1, async move {
            for _ in 0..steps {
                work.pass().await;
            }
        })));
        for _ in 0..steps {
            call.pending();
            gate.open();
        }
        bomb.0.store(true, SeqCst);
        assert!(catch_unwind(AssertUnwindSafe(|| call.poll())).is_err());
        drop(call);
        assert_eq!(*ends.0.lock().unwrap(), ["result"], "{detached} {steps}");
        assert_eq!(runtime.metrics().num_alive_tasks(), 0, "{detached} {steps}");
        assert_eq!(reducer.in_flight(), 0);
    }
}

/// A subscriber that panics once, where it is told.
#[derive(Clone, Default)]
struct Sore {
    enter: Arc<AtomicBool>,
    exit: Arc<AtomicBool>,
}

impl Sore {
    fn touch(
        what: &AtomicBool,
        id: &Id,
        context: &Context<'_, impl Subscriber + for<'a> LookupSpan<'a>>,
    ) {
        if context.span(id).unwrap().name() == "wait" && what.swap(false, SeqCst) {
            panic!("a subscriber's own");
        }
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Sore {
    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        Self::touch(&self.enter, id, &context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        Self::touch(&self.exit, id, &context);
    }
}

#[test]
fn a_leader_whose_span_panics_after_its_first_poll_takes_no_seat_along() {
    let sore = Sore::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(sore.clone()));
    let (reducer, gate) = (Reducer::new(), Gate::new());
    let mut leader = ByHand::new(reducer.reduce(1, gate.pass()));
    sore.exit.store(true, SeqCst);
    assert!(catch_unwind(AssertUnwindSafe(|| leader.poll())).is_err());
    drop(leader);
    assert_eq!(reducer.in_flight(), 0);
    ByHand::new(reducer.reduce(1, async {})).ready();
}

type Late = Box<dyn FnMut() -> Poll<Result<Reduced<i32>, ReduceError>> + Send>;

/// Has somebody join, on another thread, before the leader's first poll; then its span is sore.
#[derive(Clone, Default)]
struct Joins {
    reducer: Arc<Mutex<Option<Reducer>>>,
    late: Arc<Mutex<Option<Late>>>,
    sore: Sore,
}

impl Hooks for Joins {
    fn on_executing(&self, _: &Call<'_>) {
        let reducer = self.reducer.lock().unwrap().take().unwrap();
        let runtime = tokio::runtime::Handle::current();
        let late = thread::spawn(move || -> Late {
            let call = async move { reducer.try_reduce(1, never_runs::<i32>()).await };
            let mut late = ByHand::new(call);
            let mut poll = move || {
                let _entered = runtime.enter();
                late.poll()
            };
            assert!(poll().is_pending());
            Box::new(poll)
        });
        *self.late.lock().unwrap() = Some(late.join().unwrap());
        self.sore.enter.store(true, SeqCst);
    }
}

/// Of a flight whose leader panics before it polls the work: the clock, and the follower that is left.
fn left_by_a_leader(is_built: bool, gate: &Gate) -> (Late, tokio::runtime::Runtime) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap();
    let joins = Joins::default();
    let subscriber = tracing_subscriber::registry().with(joins.sore.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    // A subscriber sees the place of a span for the first time.
    ByHand::new(Reducer::new().reduce(1, async {})).ready();
    let builder = Reducer::builder().hooks(joins.clone()).timeout(Duration::from_secs(1));
    let reducer = builder.build();
    *joins.reducer.lock().unwrap() = Some(reducer.clone());
    let pass = gate.pass();
    let work = async move {
        pass.await;
        7
    };
    runtime.block_on(async {
        let polled = if is_built {
            let mut leader = ByHand::new(reducer.reduce_with(1, || work));
            catch_unwind(AssertUnwindSafe(|| leader.poll()))
        } else {
            let mut leader = ByHand::new(reducer.reduce(1, work));
            catch_unwind(AssertUnwindSafe(|| leader.poll()))
        };
        assert!(polled.is_err());
    });
    let late = joins.late.lock().unwrap().take().unwrap();
    (late, runtime)
}

#[test]
fn a_leader_whose_span_panics_before_its_first_poll_leaves_work_to_the_others() {
    let gate = Gate::new();
    gate.open();
    let (mut late, _runtime) = left_by_a_leader(true, &gate);
    assert!(matches!(late(), Poll::Ready(Ok(Reduced { value: 7, role: Role::Joined }))));
}

#[test]
fn a_leader_whose_span_panics_before_its_first_poll_leaves_a_clock_to_the_others() {
    let (mut late, runtime) = left_by_a_leader(false, &Gate::new());
    assert!(late().is_pending());
    runtime.block_on(async { tokio::time::sleep(Duration::from_secs(10)).await });
    assert!(matches!(late(), Poll::Ready(Err(ReduceError::TimedOut(_)))));
}

#[test]
fn what_builds_the_work_is_in_the_flights_span() {
    let spans = Spans::default();
    let _guard =
        tracing::subscriber::set_default(tracing_subscriber::registry().with(spans.clone()));
    info_span!("request").in_scope(|| {
        let reducer = Reducer::new();
        let build = || {
            info!("built");
            async { info!("polled") }
        };
        ByHand::new(reducer.reduce_with(1, build)).ready();
    });
    let [(flight, _)] = &spans.named("flight")[..] else { panic!("there was one flight") };
    let events = spans.1.lock().unwrap();
    for what in ["built", "polled"] {
        assert!(events.contains(&(what.to_owned(), Some(*flight))), "{what}: {events:?}");
    }
}
