//! `#[reduceable]` on methods: what `self` means, and where methods can be.
#![deny(warnings)]

use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;

use reducer_core::{ByPtr, Reducer, reduceable};
use reducer_tests::{begin, runs};
use tokio::join;

fn sendable<F: Future + Send>(future: F) -> F {
    future
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct User(u8);

// Row 9.
impl User {
    #[reduceable]
    async fn by_ref(&self) -> u8 {
        begin("by_ref").await;
        self.0
    }

    #[reduceable]
    async fn by_value(self) -> u8 {
        begin("by_value").await;
        self.0
    }

    #[reduceable]
    async fn by_mut_value(mut self) -> u8 {
        begin("by_mut_value").await;
        self.0 += 1;
        self.0
    }

    #[reduceable]
    async fn boxed(self: Box<Self>) -> u8 {
        begin("boxed").await;
        self.0
    }

    #[reduceable]
    #[allow(clippy::needless_arbitrary_self_type, reason = "that is the test")]
    async fn spelled_out(self: &Self) -> u8 {
        begin("spelled_out").await;
        self.0
    }

    #[reduceable]
    #[allow(clippy::borrowed_box, reason = "that is the test")]
    async fn borrowed_box(self: &Box<Self>, x: &str) -> usize {
        begin("borrowed_box").await;
        usize::from(self.0) + x.len()
    }

    #[reduceable]
    async fn one_lifetime<'a>(&'a self, x: &'a str) -> usize {
        begin("one_lifetime").await;
        usize::from(self.0) + x.len()
    }

    #[reduceable]
    async fn forever(&'static self) -> u8 {
        begin("forever").await;
        self.0
    }
}

#[tokio::test(start_paused = true)]
async fn equal_selves_share_and_different_ones_do_not() {
    let (a, twin, other) = (User(1), User(1), User(2));
    assert_eq!(join!(sendable(a.by_ref()), twin.by_ref(), other.by_ref()), (1, 1, 2));
    assert_eq!(runs("by_ref"), 2);
    let owned = |n| sendable(User(n).by_value());
    assert_eq!(join!(owned(1), owned(1), owned(2)), (1, 1, 2));
    assert_eq!(runs("by_value"), 2);
}

#[tokio::test(start_paused = true)]
async fn every_form_of_self_is_one_that_can_be_shared() {
    assert_eq!(join!(User(1).by_mut_value(), User(1).by_mut_value()), (2, 2));
    assert_eq!(runs("by_mut_value"), 1);
    let boxed = || Box::new(User(1));
    assert_eq!(join!(boxed().boxed(), boxed().boxed()), (1, 1));
    assert_eq!(runs("boxed"), 1);
    let (a, b) = (boxed(), boxed());
    assert_eq!(join!(a.borrowed_box("x"), b.borrowed_box("x")), (2, 2));
    assert_eq!(join!(a.spelled_out(), b.spelled_out()), (1, 1));
    assert_eq!(join!(a.one_lifetime("x"), b.one_lifetime("x")), (2, 2));
    assert_eq!((runs("borrowed_box"), runs("spelled_out"), runs("one_lifetime")), (1, 1, 1));
    static FOREVER: User = User(1);
    assert_eq!(join!(FOREVER.forever(), FOREVER.forever()), (1, 1));
    assert_eq!(runs("forever"), 1);
}

// Row 10. Nothing is asked of `Session`.
struct Session(u8);

impl Session {
    #[reduceable]
    async fn by_arc(self: Arc<Self>) -> u8 {
        begin("by_arc").await;
        self.0
    }

    #[reduceable]
    async fn by_arc_ref(self: &Arc<Self>, n: u8) -> u8 {
        begin("by_arc_ref").await;
        self.0 + n
    }

    // Row 12.
    #[reduceable(skip(self))]
    async fn for_all(self: &Arc<Self>, n: u8) -> u8 {
        begin("for_all").await;
        self.0 + n
    }
}

#[tokio::test(start_paused = true)]
async fn an_arc_of_self_stands_for_the_object_itself() {
    let (a, twin) = (Arc::new(Session(1)), Arc::new(Session(1)));
    let owned = |session: &Arc<Session>| sendable(Arc::clone(session).by_arc());
    join!(owned(&a), owned(&a), owned(&twin));
    assert_eq!(runs("by_arc"), 2);
    join!(sendable(a.by_arc_ref(1)), a.by_arc_ref(1), twin.by_arc_ref(1), a.by_arc_ref(2));
    assert_eq!(runs("by_arc_ref"), 3);
    assert_eq!(Arc::strong_count(&a), 1, "no flight keeps it when it has landed");
}

#[tokio::test(start_paused = true)]
async fn skipped_self_shares_among_all_instances() {
    let (a, other) = (Arc::new(Session(1)), Arc::new(Session(2)));
    assert_eq!(join!(a.for_all(1), other.for_all(1)), (2, 2));
    assert_eq!(runs("for_all"), 1);
}

// Rows 11 and 12.
#[derive(Clone)]
struct Repository {
    pool: Arc<Session>,
    reducer: Reducer,
}

impl Repository {
    fn new() -> Self {
        Self { pool: Arc::new(Session(1)), reducer: Reducer::new() }
    }

    #[reduceable(key = (ByPtr(&self.pool), id))]
    async fn by_pool(&self, id: u8) -> u8 {
        begin("by_pool").await;
        self.pool.0 + id
    }

    #[reduceable(reducer = self.reducer)]
    async fn own_reducer(&self, id: u8) -> u8 {
        begin("own_reducer").await;
        id
    }

    #[reduceable(reducer = self.reducer, skip(self))]
    async fn own_reducer_and_skip(&self, id: u8) -> u8 {
        begin("own_reducer_and_skip").await;
        id
    }

    #[reduceable(reducer = &self.reducer)]
    async fn own_reducer_by_value(self, id: u8) -> u8 {
        begin("own_reducer_by_value").await;
        self.pool.0 + id
    }
}

#[tokio::test(start_paused = true)]
async fn by_ptr_shares_among_the_clones_of_a_handle() {
    let (a, other) = (Repository::new(), Repository::new());
    let clone = a.clone();
    join!(sendable(a.by_pool(1)), clone.by_pool(1), other.by_pool(1));
    assert_eq!(runs("by_pool"), 2);
}

#[tokio::test(start_paused = true)]
async fn a_reducer_of_its_own_stands_for_the_instance() {
    let (a, other) = (Repository::new(), Repository::new());
    let clone = a.clone();
    join!(sendable(a.own_reducer(1)), clone.own_reducer(1), other.own_reducer(1));
    assert_eq!(runs("own_reducer"), 2);
    join!(
        sendable(a.own_reducer_and_skip(1)),
        clone.own_reducer_and_skip(1),
        other.own_reducer_and_skip(1)
    );
    assert_eq!(runs("own_reducer_and_skip"), 2);
    let by_value = |repository: &Repository| sendable(repository.clone().own_reducer_by_value(1));
    join!(by_value(&a), by_value(&clone), by_value(&other));
    assert_eq!(runs("own_reducer_by_value"), 2);
}

// Row 13.
trait Store<K>: Send + Sync {
    fn get(&self, key: K) -> impl Future<Output = usize> + Send;
    #[allow(async_fn_in_trait, reason = "that is the test")]
    async fn count(&self, key: K) -> usize;
}

impl<K: Hash + Eq + Clone + Send + Sync + 'static> Store<K> for Arc<str> {
    #[reduceable]
    async fn get(&self, key: K) -> usize {
        let _ = key;
        begin("Store::get").await;
        self.len()
    }

    #[reduceable]
    async fn count(&self, key: K) -> usize {
        let _ = key;
        begin("Store::count").await;
        self.len()
    }
}

#[tokio::test(start_paused = true)]
async fn trait_methods_are_implemented_by_reduceable_ones() {
    let store: Arc<str> = "ab".into();
    join!(sendable(Store::get(&store, 1)), store.get(1), store.get(2), store.get("x"));
    assert_eq!(runs("Store::get"), 3);
    join!(store.count(1), store.count(1));
    assert_eq!(runs("Store::count"), 1);
}

#[async_trait::async_trait]
trait Service: Send + Sync {
    async fn find(
        &self,
        id: u64,
        (x, y): (u8, u8),
        tag: &str,
        more: Option<&str>,
    ) -> Result<String, String>;
    async fn owned(self: Arc<Self>, mut n: u8) -> u8;
    async fn on(&self, id: u64, reducer: &Reducer) -> u64;
    async fn unit(&self);
    #[reduceable(skip(self))]
    async fn default_one(&self, id: u64) -> u64
    where
        Self: Sized + Clone + 'static,
    {
        begin("Service::default_one").await;
        id
    }
}

#[async_trait::async_trait]
impl Service for User {
    #[reduceable]
    async fn find(
        &self,
        id: u64,
        (x, y): (u8, u8),
        tag: &str,
        more: Option<&str>,
    ) -> Result<String, String> {
        begin("Service::find").await;
        if id == 9 {
            return Err("nine".into());
        }
        let one: u64 = "1".parse().map_err(|_| "x".to_string())?;
        Ok(format!("{self:?} {} {x}{y} {tag} {more:?}", id + one))
    }

    #[reduceable]
    async fn owned(self: Arc<Self>, mut n: u8) -> u8 {
        begin("Service::owned").await;
        n += 1;
        self.0 + n
    }

    #[reduceable(key = (id, self.0), reducer = reducer)]
    async fn on(&self, id: u64, reducer: &Reducer) -> u64 {
        begin("Service::on").await;
        let _ = reducer;
        id
    }

    #[reduceable]
    async fn unit(&self) {
        begin("Service::unit").await;
    }
}

#[tokio::test(start_paused = true)]
async fn under_async_trait_and_behind_dyn_it_is_the_same() {
    let service: Arc<dyn Service> = Arc::new(User(7));
    let find = |id, tag: &'static str| sendable(service.find(id, (1, 2), tag, Some("m")));
    let (a, b, other, error) = join!(find(1, "x"), find(1, "x"), find(1, "y"), find(9, "x"));
    assert_eq!([a.unwrap(), b.unwrap()], [r#"User(7) 2 12 x Some("m")"#; 2]);
    assert_eq!((other.is_ok(), error), (true, Err("nine".into())));
    assert_eq!(runs("Service::find"), 3);
    let owned = || Arc::clone(&service).owned(1);
    assert_eq!(join!(owned(), owned()), (9, 9));
    assert_eq!(runs("Service::owned"), 1);
    let reducer = Reducer::new();
    join!(service.on(1, &reducer), service.on(1, &reducer), service.on(1, Reducer::global()));
    assert_eq!(runs("Service::on"), 2);
    join!(service.unit(), service.unit());
    assert_eq!(runs("Service::unit"), 1);
    join!(User(1).default_one(1), User(2).default_one(1));
    assert_eq!(runs("Service::default_one"), 1);
}

/// What a web service has: state by reference, a pool inside.
#[derive(Clone)]
struct AppState {
    seen: Arc<Mutex<Vec<u64>>>,
}

#[tokio::test(start_paused = true)]
async fn the_functions_of_an_ordinary_service_work() {
    #[reduceable(skip(state))]
    async fn handler(state: &AppState, id: u64) -> Result<Arc<str>, String> {
        begin("handler").await;
        state.seen.lock().unwrap().push(id);
        Ok(format!("user {id}").into())
    }
    let state = AppState { seen: Arc::default() };
    let tasks: Vec<_> = (0..10)
        .map(|call| {
            let state = state.clone();
            tokio::spawn(async move { handler(&state, call % 2).await })
        })
        .collect();
    for (call, task) in tasks.into_iter().enumerate() {
        assert_eq!(&*task.await.unwrap().unwrap(), format!("user {}", call % 2));
    }
    assert_eq!((runs("handler"), state.seen.lock().unwrap().len()), (2, 2));
}
