//! A thousand clients ask a web server for ten slow reports at once: without `#[reduceable]`, then
//! with it.
//!
//! Nothing is simulated. The server is axum, the reports are read from an SQLite file of 200,000
//! rows, and every client has a TCP connection of its own. In every wave fifty more clients ask first,
//! so that they lead the flights, and hang up before they are answered: axum then drops their
//! handlers, and the clients who joined them must not notice.
//!
//! ```text
//! cargo run --release --example thundering_herd
//! ```

use std::fmt;
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
use reducer_core::{SharedError, reduceable};
use rusqlite::{Connection, OpenFlags};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::sync::{Semaphore, watch};
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;

const REGIONS: u32 = 10;
const ROWS_PER_REGION: u32 = 20_000;
const CONNECTIONS_TO_SQLITE: usize = 2;

const WAVES: usize = 3;
const PATIENT: usize = 1_000;
const IMPATIENT: usize = 50;
const TIME_FOR_ALL: Duration = Duration::from_secs(120);

fn main() -> Result<(), SharedError> {
    allow_open_files(2 * (PATIENT + IMPATIENT) as u64 + 200)?;
    // Made before the runtime, so dropped after it: by then nobody has the database open. An error
    // or a panic comes by here too.
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("sales.db");
    let runtime = Runtime::new()?;
    runtime.block_on(async {
        // Nothing here takes this long: a caller who waits for ever is a failed claim as well.
        timeout(TIME_FOR_ALL, compare(&file))
            .await
            .map_err(|_| format!("not done after {TIME_FOR_ALL:?}: somebody waits in vain"))?
    })
}

async fn compare(file: &FilePath) -> Result<(), SharedError> {
    write_sales(file)?;
    let answers = answers_read_straight(file)?;
    let db = Db::open(file)?;
    let shop = Shop { db: db.clone(), traffic: Arc::default() };
    let address = serve(shop.clone()).await?;

    println!(
        "{WAVES} waves of {PATIENT} clients, and {IMPATIENT} who hang up, for {REGIONS} reports"
    );
    let without = stampede("without", "/plain", &shop, address, &answers).await?;
    let with = stampede("with", "/reduced", &shop, address, &answers).await?;

    println!();
    println!("         requests  hung up  queries       wall        p50        p99");
    println!("{without}\n{with}");
    println!();

    // Without the attribute, as many queries as answers, and those for some who did not wait.
    for queries in &without.queries {
        assert!(
            *queries >= PATIENT as u64,
            "{queries} queries cannot have answered {PATIENT} requests"
        );
    }
    // With it, one per report and wave. A request that comes after the flight it would have joined
    // has landed rightly starts anew: the slower the machine takes connections, the more of these.
    let fewest = u64::from(REGIONS);
    for queries in &with.queries {
        assert!(
            *queries >= fewest,
            "{queries} queries: the reports of an earlier wave were served again"
        );
        assert!(
            *queries <= PATIENT as u64 / 4,
            "{queries} queries for {PATIENT} requests: they were not coalesced"
        );
    }
    for run in [&without, &with] {
        assert!(
            run.hung_up > 0,
            "nobody hung up in mid-flight, so the run `{}` shows too little",
            run.name
        );
    }
    println!(
        "every answer checked: {} of {}",
        without.times.len() + with.times.len(),
        2 * WAVES * PATIENT
    );
    Ok(())
}

/// The report as one writes it: every call is a query.
async fn report(db: &Db, region: u32) -> Result<Report, SharedError> {
    db.report(region).await
}

/// The same with one line more: calls that overlap share one query. The database is left out of the
/// key, since there is only one.
#[reduceable(skip(db))]
async fn report_reduced(db: &Db, region: u32) -> Result<Report, SharedError> {
    db.report(region).await
}

async fn serve(shop: Shop) -> Result<SocketAddr, SharedError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let plain = async |State(shop): State<Shop>, Path(region): Path<u32>| {
        shop.answer(report(&shop.db, region)).await
    };
    let reduced = async |State(shop): State<Shop>, Path(region): Path<u32>| {
        shop.answer(report_reduced(&shop.db, region)).await
    };
    let router = Router::new()
        .route("/plain/{region}", get(plain))
        .route("/reduced/{region}", get(reduced))
        .with_state(shop);
    // Runs until the runtime is dropped.
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

/// What the handlers share.
#[derive(Clone)]
struct Shop {
    db: Db,
    traffic: Arc<watch::Sender<Traffic>>,
}

/// What became of the requests so far, as the handlers saw it.
#[derive(Clone, Copy, Default)]
struct Traffic {
    arrived: usize,
    answered: usize,
    /// Handlers that were dropped before they had an answer.
    hung_up: usize,
}

impl Shop {
    async fn answer(
        &self,
        report: impl Future<Output = Result<Report, SharedError>>,
    ) -> Result<String, (StatusCode, String)> {
        let visit = Visit::begin(&self.traffic);
        let report = report.await;
        visit.end();
        match report {
            Ok(report) => Ok(report.to_string()),
            Err(error) => Err((StatusCode::INTERNAL_SERVER_ERROR, error.to_string())),
        }
    }

    async fn wait_until(
        &self,
        reached: impl FnMut(&Traffic) -> bool,
    ) -> Result<Traffic, SharedError> {
        Ok(*self.traffic.subscribe().wait_for(reached).await?)
    }
}

/// One request in its handler. Dropped before its `end`, it counts as hung up.
struct Visit<'a> {
    traffic: &'a watch::Sender<Traffic>,
    answered: bool,
}

impl<'a> Visit<'a> {
    fn begin(traffic: &'a watch::Sender<Traffic>) -> Self {
        traffic.send_modify(|traffic| traffic.arrived += 1);
        Self { traffic, answered: false }
    }

    fn end(mut self) {
        self.answered = true;
    }
}

impl Drop for Visit<'_> {
    fn drop(&mut self) {
        self.traffic.send_modify(|traffic| {
            if self.answered { traffic.answered += 1 } else { traffic.hung_up += 1 }
        });
    }
}

/// Sends the herd at `path`, wave after wave, and checks every answer.
async fn stampede(
    name: &'static str,
    path: &'static str,
    shop: &Shop,
    address: SocketAddr,
    answers: &[String],
) -> Result<Stampede, SharedError> {
    let mut patient = open_clients(PATIENT, address).await?;
    let before = *shop.traffic.borrow();
    let mut queries = Vec::new();
    let mut times = Vec::new();
    let mut wall = Duration::ZERO;

    for _ in 0..WAVES {
        let impatient = open_clients(IMPATIENT, address).await?;
        let queries_before = shop.db.queries();
        let arrived_before = shop.traffic.borrow().arrived;

        // They ask first, so the flights are theirs to lead...
        let mut deserters = JoinSet::new();
        for (client, region) in impatient.into_iter().zip((0..REGIONS).cycle()) {
            deserters.spawn(client.ask(path, region, Instant::now()));
        }
        shop.wait_until(|traffic| traffic.arrived >= arrived_before + IMPATIENT).await?;

        // One clock for all: waiting for a turn in this process is waiting too.
        let start = Instant::now();
        let mut herd = JoinSet::new();
        for (client, region) in patient.drain(..).zip((0..REGIONS).cycle()) {
            herd.spawn(client.ask(path, region, start));
        }

        // ... and they hang up once every flight has some followers.
        let enough = arrived_before + IMPATIENT + PATIENT / 10;
        shop.wait_until(|traffic| traffic.arrived >= enough).await?;
        deserters.shutdown().await;

        while let Some(answer) = herd.join_next().await {
            let answer = answer??;
            assert_eq!(
                answer.body, answers[answer.region as usize],
                "a wrong report for region {}",
                answer.region
            );
            times.push(answer.time);
            patient.push(answer.client);
        }
        wall += start.elapsed();

        shop.wait_until(|traffic| traffic.arrived == traffic.answered + traffic.hung_up).await?;
        queries.push(shop.db.queries() - queries_before);
    }

    let after = *shop.traffic.borrow();
    times.sort_unstable();
    Ok(Stampede {
        name,
        requests: after.arrived - before.arrived,
        hung_up: after.hung_up - before.hung_up,
        queries,
        wall,
        times,
    })
}

/// What came of a stampede: a row of the table.
struct Stampede {
    name: &'static str,
    requests: usize,
    hung_up: usize,
    /// That reached SQLite, wave by wave.
    queries: Vec<u64>,
    wall: Duration,
    /// How long each answer took, in ascending order.
    times: Vec<Duration>,
}

impl fmt::Display for Stampede {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { name, requests, hung_up, queries, wall, times } = self;
        let queries: u64 = queries.iter().sum();
        let [wall, p50, p99] = [*wall, times[times.len() / 2], times[times.len() * 99 / 100]]
            .map(|time| time.as_secs_f64() * 1e3);
        write!(f, "{name:<8} {requests:>8} {hung_up:>8} {queries:>8} ")?;
        write!(f, "{wall:>7.0} ms {p50:>7.0} ms {p99:>7.0} ms")
    }
}

/// A client with its own connection, opened beforehand and kept from wave to wave.
struct Client {
    requests: SendRequest<Empty<Bytes>>,
    /// The task that holds the socket.
    connection: JoinHandle<hyper::Result<()>>,
}

struct Answer {
    client: Client,
    region: u32,
    body: Bytes,
    time: Duration,
}

async fn open_clients(count: usize, address: SocketAddr) -> Result<Vec<Client>, SharedError> {
    let mut clients = Vec::with_capacity(count);
    for _ in 0..count {
        let socket = TcpStream::connect(address).await?;
        let (requests, connection) = handshake(TokioIo::new(socket)).await?;
        clients.push(Client { requests, connection: tokio::spawn(connection) });
    }
    Ok(clients)
}

impl Client {
    async fn ask(mut self, path: &str, region: u32, start: Instant) -> Result<Answer, SharedError> {
        let request = Request::get(format!("{path}/{region}"))
            .header(header::HOST, "localhost")
            .body(Empty::new())?;
        let response = self.requests.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        let time = start.elapsed();
        if status != StatusCode::OK {
            return Err(
                format!("region {region}: {status}, {}", String::from_utf8_lossy(&body)).into()
            );
        }
        Ok(Answer { client: self, region, body, time })
    }
}

impl Drop for Client {
    /// Hangs up: the socket goes with its task.
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// A few connections to the database. Clones share them.
#[derive(Clone)]
struct Db(Arc<Pool>);

struct Pool {
    idle: Mutex<Vec<Connection>>,
    /// One permit for every connection in `idle`.
    permits: Arc<Semaphore>,
    /// Queries that reached SQLite.
    queries: AtomicU64,
}

impl Db {
    fn open(file: &FilePath) -> Result<Self, SharedError> {
        let connections = (0..CONNECTIONS_TO_SQLITE)
            .map(|_| Connection::open_with_flags(file, OpenFlags::SQLITE_OPEN_READ_ONLY))
            .collect::<Result<Vec<_>, _>>()?;
        Ok(Self(Arc::new(Pool {
            permits: Arc::new(Semaphore::new(connections.len())),
            idle: Mutex::new(connections),
            queries: AtomicU64::new(0),
        })))
    }

    async fn report(&self, region: u32) -> Result<Report, SharedError> {
        let pool = Arc::clone(&self.0);
        let permit = Arc::clone(&pool.permits).acquire_owned().await?;
        // A query that has begun is finished even if nobody waits for it any more. Its permit goes
        // with it: whoever gets that one next finds a connection idle.
        let query = tokio::task::spawn_blocking(move || {
            let connection = pool.idle.lock().expect("never locked over a query").pop();
            let connection = connection.expect("a permit is a connection");
            pool.queries.fetch_add(1, Ordering::Relaxed);
            let report = Report::query(&connection, region);
            pool.idle.lock().expect("never locked over a query").push(connection);
            drop(permit);
            report
        });
        query.await?
    }

    fn queries(&self) -> u64 {
        self.0.queries.load(Ordering::Relaxed)
    }
}

/// What one region sold.
#[derive(Clone)]
struct Report {
    region: u32,
    orders: i64,
    customers: i64,
    cents: i64,
    /// What the best customer spent.
    best: i64,
}

impl Report {
    fn query(connection: &Connection, region: u32) -> Result<Self, SharedError> {
        let mut query = connection.prepare_cached(
            "SELECT sum(orders), count(*), sum(spent), max(spent) FROM (
                 SELECT count(*) AS orders, sum(cents) AS spent
                 FROM sales WHERE region = ? GROUP BY customer)",
        )?;
        Ok(query.query_one([region], |row| {
            Ok(Self {
                region,
                orders: row.get(0)?,
                customers: row.get(1)?,
                cents: row.get(2)?,
                best: row.get(3)?,
            })
        })?)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { region, orders, customers, cents, best } = self;
        write!(
            f,
            "region {region}: {orders} orders by {customers} customers, {cents} cents, {best} the best"
        )
    }
}

fn write_sales(file: &FilePath) -> Result<(), SharedError> {
    let connection = Connection::open(file)?;
    connection.execute_batch(
        "CREATE TABLE sales (
             region INTEGER, number INTEGER, customer INTEGER NOT NULL, cents INTEGER NOT NULL,
             PRIMARY KEY (region, number)
         ) WITHOUT ROWID;",
    )?;
    // The factors are primes: they scatter customers and amounts as a die would, but every time alike.
    connection.execute(
        "INSERT INTO sales
         WITH RECURSIVE row(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM row WHERE i + 1 < ?1 * ?2)
         SELECT i / ?2, i % ?2, i * 7919 % 6007, i * 48271 % 100000 FROM row",
        [REGIONS, ROWS_PER_REGION],
    )?;
    Ok(())
}

/// What each region's response must be, by a connection of our own, with no server in between.
fn answers_read_straight(file: &FilePath) -> Result<Vec<String>, SharedError> {
    let connection = Connection::open(file)?;
    let answers = (0..REGIONS)
        .map(|region| Ok(Report::query(&connection, region)?.to_string()))
        .collect::<Result<Vec<_>, SharedError>>()?;
    Ok(answers)
}

/// A socket has two ends, and this process holds both.
fn allow_open_files(needed: u64) -> Result<(), SharedError> {
    let allowed = rlimit::increase_nofile_limit(needed)?;
    if allowed < needed {
        return Err(format!(
            "{needed} files must be open at once, and this shell allows {allowed} at most; \
             raise its hard limit (as root: `ulimit -n {needed}`) and run this again"
        )
        .into());
    }
    Ok(())
}
