//! What coalescing saves, as a service sees it: counters scraped from `/metrics`, and the tree of spans.
//!
//!     cargo run --example observability
//!
//! An axum server over an SQLite database, asked over real sockets in waves. Its `/metrics` are scraped over a
//! socket too, read by a parser of Prometheus's text format, and held against what the load implies and what the
//! database itself has counted. Then every query of the Grafana dashboard beside this file is held against the
//! same scrape.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use futures_util::future::join_all;
use http_body_util::{BodyExt, Empty};
use hyper::Request;
use hyper::body::Bytes;
use hyper::client::conn::http1::handshake;
use hyper_util::rt::TokioIo;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder};
use prometheus_parse::{Sample, Scrape, Value};
use reducer_core::{MetricsHooks, SharedError, reduceable, set_global_hooks};
use rusqlite::Connection;
use tokio::net::{TcpListener, TcpStream};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id};
use tracing::{Instrument, Subscriber, info_span};
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;

const WAVES: u64 = 10;
const CLIENTS: u64 = 50;
const DASHBOARD: &str = include_str!("../observability/dashboard.json");

#[tokio::main]
async fn main() -> Result<(), SharedError> {
    // All that a service has to do: an exporter for the facade, and the hooks.
    let prometheus = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Full("reducer_flight_seconds".into()), &[0.01, 0.1, 1.0])?
        .set_buckets_for_metric(
            Matcher::Full("reducer_flight_followers".into()),
            &[0.0, 9.0, 99.0],
        )?
        .install_recorder()?;
    set_global_hooks(MetricsHooks::new())?;
    // Spans need no hooks, only a subscriber.
    let tree = Tree::default();
    tracing::subscriber::set_global_default(tracing_subscriber::registry().with(tree.clone()))?;

    let db = Db::open()?;
    let app = Router::new()
        .route("/total/{region}", get(total))
        .route("/metrics", get(move || std::future::ready(prometheus.render())))
        .with_state(db.clone());
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move { axum::serve(listener, app).await });

    for wave in 0..WAVES {
        // The last region does not exist: an error, shared like any answer.
        let asks = (0..CLIENTS).map(|_| ask(address, format!("/total/{wave}")));
        for answer in join_all(asks).await {
            let (status, _) = answer?;
            assert_eq!(status == StatusCode::OK, wave != WAVES - 1);
        }
    }

    let (_, text) = ask(address, "/metrics".into()).await?;
    let scrape = Scrape::parse(text.lines().map(|line| Ok(line.to_owned())))?;
    let sum = |name: &str, label: &str, value: &str| -> u64 {
        let wanted = |sample: &&Sample| {
            sample.metric == name && (label.is_empty() || sample.labels.get(label) == Some(value))
        };
        let values = scrape.samples.iter().filter(wanted).map(|sample| match &sample.value {
            Value::Counter(value) | Value::Gauge(value) | Value::Untyped(value) => *value,
            Value::Histogram(_) | Value::Summary(_) => 0.0,
        });
        values.sum::<f64>() as u64
    };
    let led = sum("reducer_calls_total", "role", "leader");
    let joined = sum("reducer_calls_total", "role", "follower");
    let (errors, in_flight) =
        (sum("reducer_errors_total", "", ""), sum("reducer_in_flight", "", ""));
    println!("| {:<34} | {:>8} | {:>8} |", "", "/metrics", "counted");
    println!("|{:-<36}|{:->9}:|{:->9}:|", "", "", "");
    for (what, scraped, counted) in [
        ("calls: requests", led + joined, WAVES * CLIENTS),
        ("led: queries of the database", led, db.queries()),
        ("joined: requests without a query", joined, WAVES * CLIENTS - db.queries()),
        ("errors: queries that failed", errors, db.failures()),
        ("in flight, when all is done", in_flight, 0),
        ("flights with a time", sum("reducer_flight_seconds_count", "", ""), db.queries()),
        ("followers of all flights", sum("reducer_flight_followers_sum", "", ""), joined),
    ] {
        println!("| {what:<34} | {scraped:>8} | {counted:>8} |");
        assert_eq!(scraped, counted, "{what}");
    }
    assert!(joined > 0, "calls at the same time share");

    println!("\n{tree}");
    tree.check(led, joined);
    let panels = check_dashboard(&scrape)?;
    println!("dashboard: {panels} panels, every name and label in them is exported");
    Ok(())
}

async fn total(
    State(db): State<Db>,
    Path(region): Path<u32>,
) -> Result<String, (StatusCode, String)> {
    let request = info_span!("request", region);
    let total = region_total(&db, region).instrument(request).await;
    total.map(|total| total.to_string()).map_err(|error| (StatusCode::NOT_FOUND, error.to_string()))
}

#[reduceable(skip(db))]
async fn region_total(db: &Db, region: u32) -> Result<i64, SharedError> {
    let db = db.clone();
    tokio::task::spawn_blocking(move || db.total(region)).await?
}

#[derive(Clone)]
struct Db(Arc<Database>);

struct Database {
    connection: Mutex<Connection>,
    queries: AtomicU64,
    failures: AtomicU64,
}

impl Db {
    fn open() -> Result<Self, SharedError> {
        let connection = Connection::open_in_memory()?;
        connection.execute_batch(&format!(
            "CREATE TABLE orders (region INTEGER, amount INTEGER);
             WITH RECURSIVE n(i) AS (SELECT 0 UNION ALL SELECT i + 1 FROM n WHERE i < 200000)
             INSERT INTO orders SELECT i % {}, i FROM n;",
            WAVES - 1
        ))?;
        let (queries, failures) = (AtomicU64::new(0), AtomicU64::new(0));
        Ok(Self(Arc::new(Database { connection: Mutex::new(connection), queries, failures })))
    }

    fn total(&self, region: u32) -> Result<i64, SharedError> {
        self.0.queries.fetch_add(1, Ordering::Relaxed);
        let connection = self.0.connection.lock().expect("no query panics");
        let query = "SELECT sum(amount) FROM orders WHERE region = ?1";
        let total = connection.query_row(query, [region], |row| row.get::<_, Option<i64>>(0))?;
        total.ok_or_else(|| {
            self.0.failures.fetch_add(1, Ordering::Relaxed);
            format!("there is no region {region}").into()
        })
    }

    fn queries(&self) -> u64 {
        self.0.queries.load(Ordering::Relaxed)
    }

    fn failures(&self) -> u64 {
        self.0.failures.load(Ordering::Relaxed)
    }
}

/// A request on a connection of its own.
async fn ask(address: SocketAddr, path: String) -> Result<(StatusCode, String), SharedError> {
    let stream = TcpStream::connect(address).await?;
    let (mut requests, connection) = handshake(TokioIo::new(stream)).await?;
    let connection = tokio::spawn(connection);
    let request = Request::get(path).header("host", "localhost").body(Empty::<Bytes>::new())?;
    let response = requests.send_request(request).await?;
    let status = response.status();
    let body = response.into_body().collect().await?.to_bytes();
    drop(requests);
    connection.await??;
    Ok((status, String::from_utf8_lossy(&body).into_owned()))
}

/// Every metric and label that the dashboard asks for is there. Gives the number of panels.
fn check_dashboard(scrape: &Scrape) -> Result<usize, SharedError> {
    let dashboard: serde_json::Value = serde_json::from_str(DASHBOARD)?;
    let mut exported = BTreeMap::<&str, BTreeSet<&str>>::new();
    for Sample { metric, labels, .. } in &scrape.samples {
        exported.entry(metric).or_default().extend(labels.keys().map(String::as_str));
    }
    let panels = dashboard["panels"].as_array().ok_or("the dashboard has no panels")?;
    for panel in panels {
        let targets = panel["targets"].as_array().ok_or("a panel has no targets")?;
        for target in targets {
            let query = target["expr"].as_str().ok_or("a target has no query")?;
            let words = query.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let (mut names, mut labels) = (Vec::new(), Vec::new());
            for word in words {
                match word {
                    "function" | "role" | "kind" => labels.push(word),
                    word if word.starts_with("reducer_") => {
                        // The parser puts a histogram's buckets under the histogram's own name.
                        names.push(word.strip_suffix("_bucket").unwrap_or(word));
                    }
                    _ => {}
                }
            }
            assert!(!names.is_empty(), "{query} asks for nothing of ours");
            for name in names {
                let has = exported.get(name).ok_or(format!("{query}: no `{name}` in /metrics"))?;
                for label in &labels {
                    // A query may have several names: the label is to be on one of them at least.
                    let known =
                        has.contains(label) || exported.values().any(|has| has.contains(label));
                    assert!(known, "{query}: no label `{label}`");
                }
            }
        }
    }
    Ok(panels.len())
}

/// A layer that keeps the requests' and the reducer's spans, to draw them.
#[derive(Clone, Default)]
struct Tree(Arc<Mutex<Vec<Node>>>);

#[derive(Clone, Default)]
struct Node {
    name: &'static str,
    fields: String,
    parent: Option<usize>,
    follows: Option<usize>,
}

/// A span's place in the list, kept with the span: ids are used again.
struct Place(usize);

fn place_of<S>(id: &Id, context: &Context<'_, S>) -> Option<usize>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
{
    context.span(id)?.extensions().get::<Place>().map(|place| place.0)
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.0.push_str(&format!(" {}={value:?}", field.name()));
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Tree {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let parent = span.parent().and_then(|parent| place_of(&parent.id(), &context));
        let mut node = Node { name: span.name(), parent, ..Node::default() };
        attributes.record(&mut Fields(&mut node.fields));
        let mut nodes = self.0.lock().expect("no layer panics");
        span.extensions_mut().insert(Place(nodes.len()));
        nodes.push(node);
    }

    fn on_follows_from(&self, id: &Id, follows: &Id, context: Context<'_, S>) {
        if let Some(place) = place_of(id, &context) {
            let follows = place_of(follows, &context);
            self.0.lock().expect("no layer panics")[place].follows = follows;
        }
    }
}

impl Tree {
    fn nodes(&self) -> Vec<Node> {
        self.0.lock().expect("no layer panics").clone()
    }

    /// One flight for each execution, each in a request; one wait for each call, each linked to a flight.
    fn check(&self, led: u64, joined: u64) {
        let nodes = self.nodes();
        let named = |name: &str| nodes.iter().filter(|node| node.name == name).cloned().collect();
        let (flights, waits): (Vec<Node>, Vec<Node>) = (named("flight"), named("wait"));
        assert_eq!(flights.len() as u64, led);
        assert_eq!(waits.len() as u64, led + joined);
        let is = |place: Option<usize>, name| place.is_some_and(|place| nodes[place].name == name);
        assert!(flights.iter().all(|flight| is(flight.parent, "request")));
        assert!(waits.iter().all(|wait| is(wait.follows, "flight") && is(wait.parent, "request")));
    }
}

/// The flight with the most callers, in the request that led it.
impl fmt::Display for Tree {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let nodes = self.nodes();
        let followed = |flight: usize| {
            let waits = nodes.iter().filter(move |node| node.follows == Some(flight));
            waits.map(|wait| wait.fields.contains("follower"))
        };
        let flights = (0..nodes.len()).filter(|&place| nodes[place].name == "flight");
        let Some(flight) = flights.max_by_key(|&flight| followed(flight).count()) else {
            return Ok(());
        };
        if let Some(request) = nodes[flight].parent {
            writeln!(f, "{}{}", nodes[request].name, nodes[request].fields)?;
        }
        writeln!(f, "└─ {}{}", nodes[flight].name, nodes[flight].fields)?;
        let followers = followed(flight).filter(|is_follower| *is_follower).count();
        let leaders = followed(flight).count() - followers;
        writeln!(f, "   ├╌ followed from by {leaders} wait of its leader")?;
        writeln!(f, "   └╌ followed from by {followers} waits of followers, in other requests")
    }
}
