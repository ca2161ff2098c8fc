//! Two thousand requests at once, each for one row: a query each, then with `#[aggregate]`.
//!
//! Nothing is simulated. The server is axum, the rows are in an SQLite file, and every client has a TCP connection of
//! its own.
//!
//! ```text
//! cargo run --release --example batch_loader
//! ```

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path as FilePath;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{Request, StatusCode, header};
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use reducer_core::{AggregateError, Aggregated, SharedError, aggregate};
use rusqlite::Connection;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

const PRODUCTS: u64 = 50_000;
const REQUESTS: u64 = 2_000;
const TIME_FOR_ALL: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> Result<(), SharedError> {
    let needed = 2 * REQUESTS + 200;
    let allowed = rlimit::increase_nofile_limit(needed)?;
    assert!(allowed >= needed, "{needed} open files are needed, {allowed} allowed: `ulimit -n`");
    let folder = tempfile::tempdir()?;
    let shop = Shop::open(&folder.path().join("shop.db"))?;
    let address = serve(shop.clone()).await?;
    // Nothing here takes this long: a caller who waits for ever is a failed claim as well.
    let (without, with) = timeout(TIME_FOR_ALL, async {
        let without = rush("/alone", address, &shop).await?;
        let with = rush("/batched", address, &shop).await?;
        Ok::<_, SharedError>((without, with))
    })
    .await
    .map_err(|_| format!("not done after {TIME_FOR_ALL:?}: somebody waits in vain"))??;

    println!("         requests  queries       wall");
    for (name, (queries, wall)) in [("without", without), ("with", with)] {
        println!("{name:<8} {REQUESTS:>8} {queries:>8} {:>7.0} ms", wall.as_secs_f64() * 1e3);
    }
    let stats = shop.rows.stats();
    println!("{stats:?}");
    assert_eq!(without.0, REQUESTS, "a query each");
    // A full batch is 500; clients are not quite at once.
    assert!(with.0 <= REQUESTS / 20, "{} queries: requests were not batched", with.0);
    assert_eq!((stats.batches as u64, stats.calls as u64), (with.0, REQUESTS));
    Ok(())
}

#[derive(Clone)]
struct Shop {
    db: Arc<Mutex<Connection>>,
    queries: Arc<AtomicU64>,
    rows: Aggregated<u64, Option<String>, SharedError>,
}

impl Shop {
    /// The row as one writes it: every call is a query.
    async fn alone(&self, id: u64) -> Result<Option<String>, SharedError> {
        Ok(self.query(vec![id]).await?.remove(&id))
    }

    /// The same for many; callers give one `id`, and get `Result<Option<String>, AggregateError<SharedError>>`.
    #[aggregate(leeway = "2ms", max_count = 500, max_concurrent = 2, in = self.rows)]
    async fn product(&self, id: Vec<u64>) -> Result<HashMap<u64, String>, SharedError> {
        self.query(id).await
    }

    async fn query(&self, ids: Vec<u64>) -> Result<HashMap<u64, String>, SharedError> {
        self.queries.fetch_add(1, Ordering::Relaxed);
        let db = Arc::clone(&self.db);
        let query = tokio::task::spawn_blocking(move || {
            let db = db.lock().expect("no query panics");
            let mut query = db.prepare_cached(
                "SELECT id, name FROM products WHERE id IN (SELECT value FROM json_each(?))",
            )?;
            let rows = query.query_map([format!("{ids:?}")], |row| {
                Ok((row.get::<_, i64>(0)? as u64, row.get(1)?))
            })?;
            Ok(rows.collect::<Result<_, rusqlite::Error>>()?)
        });
        query.await?
    }

    fn open(file: &FilePath) -> Result<Self, SharedError> {
        let db = Connection::open(file)?;
        db.execute_batch("CREATE TABLE products (id INTEGER PRIMARY KEY, name TEXT NOT NULL)")?;
        db.execute(
            "INSERT INTO products WITH RECURSIVE row(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM row WHERE i + 1 < ?)
             SELECT i, 'product ' || i FROM row",
            [PRODUCTS as i64],
        )?;
        Ok(Self { db: Arc::new(Mutex::new(db)), queries: Arc::default(), rows: Aggregated::new() })
    }
}

async fn serve(shop: Shop) -> Result<SocketAddr, SharedError> {
    type Response = (StatusCode, String);

    fn respond(row: Result<Option<String>, String>) -> Response {
        match row {
            Ok(Some(name)) => (StatusCode::OK, name),
            Ok(None) => (StatusCode::NOT_FOUND, "no such product".to_owned()),
            Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error),
        }
    }

    async fn alone(State(shop): State<Shop>, Path(id): Path<u64>) -> Response {
        respond(shop.alone(id).await.map_err(|error| error.to_string()))
    }

    async fn batched(State(shop): State<Shop>, Path(id): Path<u64>) -> Response {
        let row: Result<_, AggregateError<SharedError>> = shop.product(id).await;
        respond(row.map_err(|error| error.to_string()))
    }

    let app = Router::new()
        .route("/alone/{id}", get(alone))
        .route("/batched/{id}", get(batched))
        .with_state(shop);
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });
    Ok(address)
}

/// All requests at once; the queries that they were, and the time until the last was answered.
async fn rush(
    path: &'static str,
    address: SocketAddr,
    shop: &Shop,
) -> Result<(u64, Duration), SharedError> {
    let mut clients: Vec<SendRequest<Empty<Bytes>>> = Vec::new();
    let mut connections = JoinSet::new();
    for _ in 0..REQUESTS {
        let (client, connection) =
            handshake(TokioIo::new(TcpStream::connect(address).await?)).await?;
        connections.spawn(connection);
        clients.push(client);
    }
    let before = shop.queries.load(Ordering::Relaxed);
    let start = Instant::now();
    let mut answers = JoinSet::new();
    for (n, mut client) in (0..).zip(clients) {
        answers.spawn(async move {
            // Spread over the table, and one in a hundred beyond its end.
            let id = if n % 100 == 99 { PRODUCTS + n } else { n * 23 % PRODUCTS };
            let request = Request::get(format!("{path}/{id}"))
                .header(header::HOST, "localhost")
                .body(Empty::new())?;
            let response = client.send_request(request).await?;
            let status = response.status();
            let body = response.into_body().collect().await?.to_bytes();
            let expected = match id < PRODUCTS {
                true => (StatusCode::OK, format!("product {id}")),
                false => (StatusCode::NOT_FOUND, "no such product".to_owned()),
            };
            assert_eq!((status, String::from_utf8_lossy(&body).into_owned()), expected);
            Ok::<_, SharedError>(())
        });
    }
    while let Some(answer) = answers.join_next().await {
        answer??;
    }
    Ok((shop.queries.load(Ordering::Relaxed) - before, start.elapsed()))
}
