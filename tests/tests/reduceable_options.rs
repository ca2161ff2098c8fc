//! `#[reduceable]` and its options: `reducer`, `timeout`, `detached`, `crate`.
#![deny(warnings)]

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use reducer_core::{ReduceError, Reducer, SharedError, reduceable};
use reducer_tests::{ByHand, Count, DropCounts, Gate, begin, count_run, runs};
use tokio::join;
use tokio::time::{Instant, sleep};

fn sendable<F: Future + Send>(future: F) -> F {
    future
}

// Row 12.
static STATIC: LazyLock<Reducer> = LazyLock::new(Reducer::new);

fn lent() -> &'static Reducer {
    &STATIC
}

fn cloned() -> Reducer {
    STATIC.clone()
}

#[reduceable(reducer = STATIC)]
async fn on_a_static(id: u8) -> u8 {
    begin("on_a_static").await;
    id
}

#[reduceable(reducer = lent())]
async fn on_a_lent_one(id: u8) -> u8 {
    begin("on_a_lent_one").await;
    id
}

#[reduceable(reducer = cloned())]
async fn on_a_clone(id: u8) -> u8 {
    begin("on_a_clone").await;
    id
}

#[reduceable(reducer = reducer, skip(reducer))]
async fn on_a_reference(reducer: &Reducer, id: u8) -> u8 {
    begin("on_a_reference").await;
    id
}

#[reduceable(reducer = reducer, skip(reducer))]
async fn on_an_argument(reducer: Reducer, id: u8) -> u8 {
    begin("on_an_argument").await;
    id
}

#[reduceable(reducer = &reducer, skip(reducer))]
async fn on_an_arc(reducer: Arc<Reducer>, id: u8) -> u8 {
    begin("on_an_arc").await;
    id
}

struct State<T>(T);

#[derive(Clone)]
struct App {
    reducer: Reducer,
    name: &'static str,
}

#[reduceable(reducer = app.reducer, key = (id, app.name))]
async fn on_a_field_of_a_pattern(State(app): State<App>, id: u8) -> u8 {
    begin("on_a_field_of_a_pattern").await;
    id + app.name.len() as u8
}

#[tokio::test(start_paused = true)]
async fn the_reducer_is_any_expression_that_gives_one() {
    join!(on_a_static(1), on_a_static(1));
    join!(on_a_lent_one(1), on_a_lent_one(1));
    join!(on_a_clone(1), on_a_clone(1));
    let (reducer, other) = (Reducer::new(), Reducer::new());
    join!(on_a_reference(&reducer, 1), on_a_reference(&reducer, 1), on_a_reference(&other, 1));
    let owned = |reducer: &Reducer| sendable(on_an_argument(reducer.clone(), 1));
    join!(owned(&reducer), owned(&reducer), owned(&other));
    let arc = |reducer: &Reducer| sendable(on_an_arc(Arc::new(reducer.clone()), 1));
    join!(arc(&reducer), arc(&reducer), arc(&other));
    let app = |reducer: &Reducer| State(App { reducer: reducer.clone(), name: "app" });
    let call = |reducer| sendable(on_a_field_of_a_pattern(app(reducer), 1));
    assert_eq!(join!(call(&reducer), call(&reducer), call(&other)), (4, 4, 4));
    assert_eq!(["on_a_static", "on_a_lent_one", "on_a_clone"].map(runs), [1, 1, 1]);
    assert_eq!(["on_a_reference", "on_an_argument", "on_an_arc"].map(runs), [2, 2, 2]);
    assert_eq!(runs("on_a_field_of_a_pattern"), 2);
    assert_eq!((reducer.in_flight(), other.in_flight()), (0, 0));
}

// `timeout`
#[reduceable(timeout = "2s")]
async fn limited(seconds: u64) -> Result<u64, SharedError> {
    count_run("limited");
    sleep(Duration::from_secs(seconds)).await;
    Ok(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_timeout_ends_the_run_for_everybody_and_is_an_error_of_the_function() {
    let start = Instant::now();
    let late = async {
        sleep(Duration::from_secs(1)).await;
        limited(3).await
    };
    let (leader, follower) = join!(sendable(limited(3)), late);
    assert_eq!(start.elapsed(), Duration::from_secs(2), "counted from the start of the run");
    for outcome in [leader, follower] {
        let error = outcome.unwrap_err();
        let timed_out = error.downcast_ref::<ReduceError>();
        assert!(matches!(timed_out, Some(ReduceError::TimedOut(_))), "{error}");
        assert!(error.to_string().contains("limited"), "{error}");
    }
    assert_eq!(runs("limited"), 1);
    assert_eq!(limited(1).await.unwrap(), 1);
    assert_eq!(runs("limited"), 2);
}

/// An error type of the user's.
#[derive(Clone, Debug)]
enum Failure {
    Reduce(ReduceError),
    Own(u64),
}

impl From<ReduceError> for Failure {
    fn from(error: ReduceError) -> Self {
        Self::Reduce(error)
    }
}

type Outcome = Result<u64, Failure>;

const LIMIT: Duration = Duration::from_millis(1500);

#[reduceable(timeout = LIMIT)]
async fn limited_by_a_constant(seconds: u64) -> Outcome {
    count_run("limited_by_a_constant");
    sleep(Duration::from_secs(seconds)).await;
    if seconds == 0 { Err(Failure::Own(seconds)) } else { Ok(seconds) }
}

#[reduceable(timeout = 2 * limit, skip(limit))]
async fn limited_by_an_argument(seconds: u64, limit: Duration) -> Outcome {
    count_run("limited_by_an_argument");
    sleep(Duration::from_secs(seconds)).await;
    Ok(seconds)
}

#[reduceable(timeout = "500ms", reducer = reducer, skip(reducer))]
async fn limited_here(reducer: &Reducer, seconds: u64) -> Outcome {
    count_run("limited_here");
    sleep(Duration::from_secs(seconds)).await;
    Ok(seconds)
}

#[tokio::test(start_paused = true)]
async fn a_timeout_is_a_literal_or_any_expression_that_gives_a_duration() {
    let error = limited_by_a_constant(2).await.unwrap_err();
    let Failure::Reduce(ReduceError::TimedOut(error)) = error else { panic!("{error:?}") };
    assert_eq!(error.after(), LIMIT);
    assert!(matches!(limited_by_a_constant(0).await, Err(Failure::Own(0))));
    assert_eq!(limited_by_a_constant(1).await.unwrap(), 1);
    assert!(limited_by_an_argument(1, LIMIT).await.is_ok());
    assert!(limited_by_an_argument(4, LIMIT).await.is_err());
    assert_eq!((runs("limited_by_a_constant"), runs("limited_by_an_argument")), (3, 2));
}

#[tokio::test(start_paused = true)]
async fn a_functions_terms_are_its_own_and_come_before_the_reducers() {
    let reducer = Reducer::builder().timeout(Duration::from_secs(5)).build();
    let by_hand = async {
        sleep(Duration::from_secs(3)).await;
        3u64
    };
    let (limited, by_hand) = join!(limited_here(&reducer, 3), reducer.reduce(3u64, by_hand));
    let Err(Failure::Reduce(ReduceError::TimedOut(error))) = limited else { panic!("{limited:?}") };
    assert_eq!((error.after(), by_hand), (Duration::from_millis(500), 3));
    assert_eq!((runs("limited_here"), reducer.in_flight()), (1, 0));
}

#[test]
fn without_a_runtime_a_timeout_is_an_error_too_and_nothing_runs() {
    #[reduceable(timeout = LIMIT)]
    async fn nowhere(id: u64) -> Outcome {
        count_run("nowhere");
        Ok(id)
    }
    let error = ByHand::new(nowhere(9)).ready().unwrap_err();
    let Failure::Reduce(ReduceError::NoRuntime(error)) = error else { panic!("{error:?}") };
    assert_eq!((error.option(), runs("nowhere")), ("timeout", 0));
}

#[tokio::test(start_paused = true)]
async fn with_a_timeout_a_panic_of_the_work_is_still_a_panic() {
    #[reduceable(timeout = "2s")]
    async fn fragile(id: u64) -> Result<u64, SharedError> {
        begin("fragile").await;
        panic!("no disk {id}")
    }
    let (a, b) = (tokio::spawn(fragile(1)), tokio::spawn(fragile(1)));
    for outcome in [a.await, b.await] {
        let payload = outcome.unwrap_err().into_panic();
        assert_eq!(reducer_tests::panic_message(payload), "no disk 1");
    }
    assert_eq!(runs("fragile"), 1);
}

#[tokio::test(start_paused = true)]
async fn with_a_timeout_waiting_on_itself_is_an_error_too() {
    #[reduceable(timeout = "2s")]
    async fn ring(id: u64) -> Outcome {
        count_run("ring");
        again(id).await
    }
    fn again(id: u64) -> std::pin::Pin<Box<dyn Future<Output = Outcome> + Send>> {
        Box::pin(ring(id))
    }
    let error = ring(1).await.unwrap_err();
    assert!(matches!(error, Failure::Reduce(ReduceError::Reentrant(_))), "{error:?}");
    assert_eq!(runs("ring"), 1);
}

struct Feed(u8);

#[async_trait::async_trait]
trait Fetch {
    async fn fetch(&self, seconds: u64) -> Outcome;
}

#[async_trait::async_trait]
impl Fetch for Arc<Feed> {
    #[reduceable(key = (self.0, seconds), timeout = "1s", detached)]
    async fn fetch(&self, seconds: u64) -> Outcome {
        count_run("fetch");
        sleep(Duration::from_secs(seconds)).await;
        Ok(self.0.into())
    }
}

#[tokio::test(start_paused = true)]
async fn methods_under_async_trait_have_terms_too() {
    let feed: &dyn Fetch = &Arc::new(Feed(1));
    let (a, b) = join!(feed.fetch(2), feed.fetch(2));
    assert!(a.is_err() && b.is_err());
    assert_eq!(runs("fetch"), 1);
}

// `detached`
#[reduceable(detached, key = id)]
async fn detached(id: u64, gate: &Gate, done: &Count, _guard: Arc<DropCounts>) -> Outcome {
    count_run("detached");
    gate.pass().await;
    done.add();
    Ok(id)
}

#[reduceable(detached = stays, key = id)]
async fn detached_if(id: u64, stays: bool, gate: &Gate, guard: Arc<DropCounts>) -> Outcome {
    count_run("detached_if");
    gate.pass().await;
    drop(guard);
    Ok(id)
}

#[tokio::test]
async fn detached_work_goes_on_when_its_last_caller_has_left() {
    let (gate, done, dropped) = (Gate::new(), Count::new(), Count::new());
    let guard = Arc::new(DropCounts(dropped.clone()));
    let mut call = ByHand::new(sendable(detached(1, &gate, &done, guard)));
    call.pending();
    drop(call);
    gate.open();
    while dropped.get() == 0 {
        tokio::task::yield_now().await;
    }
    assert_eq!((done.get(), runs("detached")), (1, 1));
}

#[tokio::test]
async fn whether_work_is_detached_may_depend_on_the_call() {
    let (gate, dropped) = (Gate::new(), Count::new());
    let guard = || Arc::new(DropCounts(dropped.clone()));
    let call = |id, stays| detached_if(id, stays, &gate, guard());
    let mut leaves = ByHand::new(call(1, false));
    leaves.pending();
    drop(leaves);
    assert_eq!(dropped.get(), 1, "dropped there and then");
    let mut stays = ByHand::new(call(2, true));
    stays.pending();
    drop(stays);
    assert_eq!(dropped.get(), 1);
    gate.open();
    while dropped.get() == 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(runs("detached_if"), 2);
}

// Row 21.
mod facade {
    pub(crate) mod inner {
        pub(crate) use reducer_core::macro_support;
    }
}

#[tokio::test(start_paused = true)]
async fn the_crate_may_be_elsewhere_and_the_attribute_have_another_name() {
    use reducer_core as renamed;
    use reducer_core::reduceable as coalesce;

    #[reduceable(crate = crate::facade::inner)]
    async fn through_a_facade(id: u8) -> u8 {
        begin("through_a_facade").await;
        id
    }
    #[coalesce(crate = renamed)]
    async fn through_an_alias(id: u8) -> u8 {
        begin("through_an_alias").await;
        through_a_facade(id).await
    }
    #[renamed::reduceable(crate = ::reducer_core, timeout = "1s")]
    async fn through_a_global_path(id: u8) -> Result<u8, SharedError> {
        begin("through_a_global_path").await;
        Ok(id)
    }
    join!(through_an_alias(1), through_an_alias(1), through_a_facade(1));
    let (a, b) = join!(through_a_global_path(1), through_a_global_path(1));
    assert_eq!((a.unwrap(), b.unwrap()), (1, 1));
    let all = ["through_a_facade", "through_an_alias", "through_a_global_path"];
    assert_eq!(all.map(runs), [1, 1, 1]);
}
