//! What the refusals of `ui/` suggest, followed to the letter: it compiles, and it coalesces.
#![deny(warnings)]

use std::path::Path;
use std::sync::{Arc, Mutex};

use reducer_core::{ByPtr, Output, SharedError, reduceable};
use reducer_tests::{begin, count_run, runs};
use tokio::join;

/// Neither compared nor copied: the application's state, a connection pool.
struct Pool(u8);

/// Copied, but not compared.
#[derive(Clone)]
struct AppState {
    pool: Arc<Pool>,
}

// Row 41: `skip(..)`.
#[reduceable(skip(state))]
async fn handler(state: &AppState, id: u64) -> u64 {
    begin("handler").await;
    id + u64::from(state.pool.0)
}

// Row 43: `Arc<..>`.
#[reduceable(skip(pool))]
async fn query(pool: &Arc<Pool>, sql: &str) -> Vec<u8> {
    begin("query").await;
    vec![pool.0; sql.len()]
}

// Row 40: `key = ..`.
struct Opts {
    page: u32,
    trace: f64,
}

#[reduceable(key = (opts.page, id))]
async fn page(opts: Opts, id: u64) -> f64 {
    begin("page").await;
    opts.trace + f64::from(opts.page) + id as f64
}

#[tokio::test(start_paused = true)]
async fn an_argument_that_cannot_be_in_the_key_is_left_out_of_it() {
    let state = AppState { pool: Arc::new(Pool(1)) };
    let other = AppState { pool: Arc::new(Pool(2)) };
    assert_eq!(join!(handler(&state, 1), handler(&other, 1)), (2, 2));
    assert_eq!(join!(query(&state.pool, "x"), query(&other.pool, "x")), (vec![1], vec![1]));
    let opts = |trace| Opts { page: 1, trace };
    assert_eq!(join!(page(opts(0.5), 1), page(opts(0.25), 1)), (2.5, 2.5));
    assert_eq!(["handler", "query", "page"].map(runs), [1, 1, 1]);
}

// Row 44: each of the three.
struct Repository {
    pool: Arc<Pool>,
}

impl Repository {
    #[reduceable]
    async fn each_for_itself(self: &Arc<Self>, id: u64) -> u64 {
        begin("each_for_itself").await;
        id + u64::from(self.pool.0)
    }

    #[reduceable(skip(self))]
    async fn all_together(self: &Arc<Self>, id: u64) -> u64 {
        begin("all_together").await;
        id + u64::from(self.pool.0)
    }
}

impl AppState {
    #[reduceable(key = (ByPtr(&self.pool), id))]
    async fn each_pool_for_itself(&self, id: u64) -> u64 {
        begin("each_pool_for_itself").await;
        id + u64::from(self.pool.0)
    }
}

#[tokio::test(start_paused = true)]
async fn a_self_that_cannot_be_in_the_key_has_three_ways_out() {
    let [one, two] = [1, 2].map(|n| Arc::new(Repository { pool: Arc::new(Pool(n)) }));
    join!(one.each_for_itself(1), one.each_for_itself(1), two.each_for_itself(1));
    join!(one.all_together(1), one.all_together(1), two.all_together(1));
    let [one, two] = [one, two].map(|repository| AppState { pool: Arc::clone(&repository.pool) });
    join!(one.each_pool_for_itself(1), one.each_pool_for_itself(1), two.each_pool_for_itself(1));
    let bodies = ["each_for_itself", "all_together", "each_pool_for_itself"];
    assert_eq!(bodies.map(runs), [2, 1, 2]);
}

// Row 45: `SharedError` and `?`.
#[reduceable]
fn read(path: &Path) -> Result<Vec<u8>, SharedError> {
    count_run("read");
    Ok(std::fs::read(path)?)
}

#[reduceable]
async fn parse(text: &str) -> anyhow::Result<u8, SharedError> {
    begin("parse").await;
    Ok(text.parse::<u8>().map_err(anyhow::Error::from)?)
}

#[reduceable]
async fn open(path: &Path) -> Result<(), Arc<std::io::Error>> {
    begin("open").await;
    std::fs::File::open(path).map(drop).map_err(Arc::new)
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_not_clone_is_shared() {
    let missing = Path::new("there is no such file");
    assert!(read(missing).unwrap_err().downcast_ref::<std::io::Error>().is_some());
    let (a, b) = join!(parse("x"), parse("x"));
    assert_eq!(a.unwrap_err().to_string(), b.unwrap_err().to_string());
    let (a, b) = join!(open(missing), open(missing));
    assert!(Arc::ptr_eq(&a.unwrap_err(), &b.unwrap_err()));
    assert_eq!(["read", "parse", "open"].map(runs), [1, 1, 1]);
}

// Row 46: the bound that rustc suggests.
trait DeserializeOwned: for<'a> From<&'a str> {}
impl DeserializeOwned for String {}

#[reduceable]
async fn get<T: DeserializeOwned + Output>(url: &str) -> T {
    begin("get").await;
    T::from(url)
}

#[tokio::test(start_paused = true)]
async fn a_generic_result_takes_one_more_bound() {
    assert_eq!(join!(get::<String>("/"), get::<String>("/")).1, "/");
    assert_eq!(runs("get"), 1);
}

// Rows 31 to 34.
trait Store: Send + Sync {
    fn get(&self) -> u8;
}

impl Store for Pool {
    fn get(&self) -> u8 {
        self.0
    }
}

#[reduceable(skip(store, borrowed))]
async fn objects(store: Arc<dyn Store>, borrowed: &Arc<dyn Store>) -> u8 {
    begin("objects").await;
    store.get() + borrowed.get()
}

#[reduceable(skip(log))]
async fn logged(log: &Arc<Mutex<Vec<u64>>>, id: u64) -> u64 {
    begin("logged").await;
    log.lock().expect("nobody panicked").push(id);
    id
}

#[reduceable]
async fn joined(words: &[String]) -> Arc<str> {
    begin("joined").await;
    words.join(" ").into()
}

#[tokio::test(start_paused = true)]
async fn what_borrows_is_owned_instead() {
    let store: Arc<dyn Store> = Arc::new(Pool(1));
    let call = || objects(Arc::clone(&store), &store);
    assert_eq!(join!(call(), call()), (2, 2));
    let log = Arc::default();
    join!(logged(&log, 1), logged(&log, 1));
    assert_eq!(*log.lock().unwrap(), [1]);
    let words = ["a".to_owned(), "b".to_owned()];
    assert_eq!(&*join!(joined(&words), joined(&words)).1, "a b");
    assert_eq!(["objects", "logged", "joined"].map(runs), [1, 1, 1]);
}

// Row 42.
#[reduceable(key = values.iter().map(|value| value.to_bits()).collect::<Vec<_>>())]
async fn sum(values: Vec<f64>) -> f64 {
    begin("sum").await;
    values.iter().sum()
}

#[tokio::test(start_paused = true)]
async fn floats_inside_of_a_type_are_compared_by_their_bits_if_told_to() {
    let call = |last| sum(vec![1.0, last]);
    assert_eq!(join!(call(2.0), call(2.0), call(3.0)), (3.0, 3.0, 4.0));
    assert_eq!(runs("sum"), 2);
}

#[tokio::test(start_paused = true)]
async fn streams_in_a_body_go_over_owned_items() {
    use futures_util::StreamExt as _;
    use futures_util::stream::iter;

    #[reduceable]
    async fn one(id: u64) -> u64 {
        begin("one").await;
        id
    }
    #[reduceable]
    async fn all(ids: Vec<u64>) -> Vec<u64> {
        begin("all").await;
        iter(ids.iter().copied()).map(one).buffered(8).collect().await
    }
    assert_eq!(join!(all(vec![1, 1, 2]), all(vec![1, 1, 2])).1, [1, 1, 2]);
    assert_eq!((runs("all"), runs("one")), (1, 2));
}
