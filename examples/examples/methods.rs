//! A repository with methods: a reducer for each tenant, and a write that later reads must see.
//!
//! Every tenant has an SQLite database of its own, on a thread that does one thing after another.
//!
//! ```text
//! cargo run --example methods
//! ```

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::Duration;

use futures_util::poll;
use reducer_core::{Reducer, SharedError, reduceable};
use rusqlite::Connection;
use tokio::sync::oneshot;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

#[tokio::main]
async fn main() -> Result<(), SharedError> {
    two_tenants_ask_for_row_7().await?;
    a_read_comes_after_a_write().await
}

async fn two_tenants_ask_for_row_7() -> Result<(), SharedError> {
    let bakery = Repo::open("bread")?;
    let brewery = Repo::open("beer")?;
    let busy = (bakery.keep_busy(), brewery.keep_busy());
    let mut loads = JoinSet::new();
    for _ in 0..100 {
        for (repo, own) in [(&bakery, "bread"), (&brewery, "beer")] {
            let repo = repo.clone();
            loads.spawn(async move { (repo.load(7).await, own) });
        }
    }
    bakery.wait_for_callers(100, 7).await?;
    brewery.wait_for_callers(100, 7).await?;
    drop(busy);

    for (row, own) in loads.join_all().await {
        assert_eq!(row?, Row { id: 7, name: own.to_owned() }, "that is another tenant's");
    }
    let (baked, brewed) = (bakery.queries(), brewery.queries());
    println!("100 loads of row 7 by each of two tenants, all at once: {baked} + {brewed} queries");
    assert_eq!((baked, brewed), (1, 1));
    Ok(())
}

async fn a_read_comes_after_a_write() -> Result<(), SharedError> {
    let bakery = Repo::open("bread")?;
    // This read comes before the write, and its caller does not fetch the answer for a while: the
    // call is still in the air when the row has changed.
    let busy = bakery.keep_busy();
    let mut before = Box::pin(bakery.load(7));
    assert!(poll!(&mut before).is_pending());
    drop(busy);

    let let_go = bakery.rename(7, "rye bread").await?;
    assert!(let_go, "the older read was in flight");
    let after = bakery.load(7).await?;
    println!("row 7 is renamed, and the next load says {:?}", after.name);
    assert_eq!(after.name, "rye bread");

    let before = before.await?;
    println!("who asked before still gets {:?}: {} queries", before.name, bakery.queries());
    assert_eq!((before.name.as_str(), bakery.queries()), ("bread", 2));
    Ok(())
}

/// What one tenant sells. Clones are handles to the same.
#[derive(Clone)]
struct Repo {
    reducer: Reducer,
    jobs: mpsc::Sender<Job>,
    queries: Arc<AtomicUsize>,
}

type Job = Box<dyn FnOnce(&Connection) + Send>;

#[derive(Clone, Debug, PartialEq)]
struct Row {
    id: u32,
    name: String,
}

impl Repo {
    fn open(seventh: &str) -> Result<Self, SharedError> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch("CREATE TABLE goods (id INTEGER PRIMARY KEY, name TEXT)")?;
        connection.execute("INSERT INTO goods VALUES (7, ?)", [seventh])?;
        let (jobs, to_do) = mpsc::channel::<Job>();
        // Ends with the last handle.
        thread::spawn(move || to_do.into_iter().for_each(|job| job(&connection)));
        Ok(Self { reducer: Reducer::new(), jobs, queries: Arc::default() })
    }

    /// The key is the `id` alone: two tenants are two reducers, and what is on one never meets what
    /// is on another.
    #[reduceable(reducer = self.reducer, skip(self))]
    async fn load(&self, id: u32) -> Result<Row, SharedError> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        self.run(move |connection| {
            connection.query_row("SELECT id, name FROM goods WHERE id = ?", [id], |row| {
                Ok(Row { id: row.get(0)?, name: row.get(1)? })
            })
        })
        .await
    }

    /// Tells whether an older read was under way: from here on nobody joins it.
    async fn rename(&self, id: u32, name: &'static str) -> Result<bool, SharedError> {
        self.run(move |connection| {
            connection.execute("UPDATE goods SET name = ? WHERE id = ?", (name, id))
        })
        .await?;
        Ok(self.reducer.forget(&id))
    }

    async fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<T, SharedError> {
        let (answer, answered) = oneshot::channel();
        // Whoever asked may have gone meanwhile.
        self.send(Box::new(move |connection| drop(answer.send(job(connection)))));
        Ok(answered.await??)
    }

    fn send(&self, job: Job) {
        self.jobs.send(job).expect("its thread is there as long as a handle is");
    }

    /// Keeps the database busy until what it gives is dropped.
    fn keep_busy(&self) -> mpsc::Sender<()> {
        let (guard, dropped) = mpsc::channel();
        self.send(Box::new(move |_| {
            let _ = dropped.recv();
        }));
        guard
    }

    async fn wait_for_callers(&self, count: usize, id: u32) -> Result<(), SharedError> {
        let all_here = async {
            while self.reducer.callers(&id) < count {
                yield_now().await;
            }
        };
        Ok(timeout(Duration::from_secs(60), all_here).await?)
    }

    fn queries(&self) -> usize {
        self.queries.load(Ordering::Relaxed)
    }
}
