//! Two thousand pages from a web server that answers 429 when it is asked too often.
//!
//! Nothing is simulated: the server is axum, with a limit of its own, and the crawler has sixteen TCP
//! connections to it. The crawler does not know the limit. It begins as fast as it can, is refused, and does what
//! the refusal says: no request before `Retry-After` is over, and from then on no more a second than the
//! server allows. One `Meter` tells all of its jobs at once, and none that starts after that is refused.
//!
//! ```text
//! cargo run --release --example crawl
//! ```

use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, Request, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use futures_util::{Stream as _, StreamExt as _};
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use indicatif::{ProgressBar, ProgressStyle};
use reducer_core::{Meter, SharedError};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

const PAGES: usize = 2_000;
const CONNECTIONS: usize = 16;
const TIME_FOR_ALL: Duration = Duration::from_secs(60);

/// What the server allows a second, and at once.
const LIMIT: f64 = 500.0;
const AT_ONCE: f64 = 50.0;

#[tokio::main]
async fn main() -> Result<(), SharedError> {
    // Nothing here takes this long: to wait for ever is a failed claim as well.
    timeout(TIME_FOR_ALL, crawl()).await.map_err(|_| format!("not done after {TIME_FOR_ALL:?}"))?
}

async fn crawl() -> Result<(), SharedError> {
    let server = Server::default();
    let crawler = Crawler::connect(serve(server.clone()).await?).await?;
    let style = ProgressStyle::with_template("{bar:40} {pos} of {len} pages, {per_sec}")?;
    let bar = ProgressBar::new(PAGES as u64).with_style(style);
    let begin = Instant::now();

    let mut arrived = 0;
    let mut missing: Vec<usize> = (0..PAGES).collect();
    while !missing.is_empty() {
        let mut pages =
            crawler.meter.amap(std::mem::take(&mut missing), |page| crawler.fetch(page));
        while let Some(outcome) = pages.next().await {
            match outcome? {
                Outcome::Page(page, body) => {
                    assert_eq!(body, format!("page {page}"), "another page than was asked for");
                    arrived += 1;
                    bar.inc(1);
                }
                Outcome::Refused(page) => missing.push(page),
            }
            // The stream knows what is to come, so the bar has its length from it.
            let left = pages.size_hint().1.unwrap_or_default();
            bar.set_length((arrived + left + missing.len()) as u64);
        }
    }
    bar.finish();

    let [refused, refused_late] =
        [&crawler.refused, &crawler.refused_late].map(|count| count.load(Ordering::Relaxed));
    let asked = server.asked.load(Ordering::Relaxed);
    let seconds = begin.elapsed().as_secs_f64();
    println!("{arrived} pages in {seconds:.1} s, {asked} requests");
    println!("{refused} refused when the limit was found, {refused_late} after that");
    println!("{:?}", crawler.meter.stats());

    assert_eq!(arrived, PAGES);
    assert!(refused > 0, "the limit was never found: the run shows too little");
    assert!(refused <= CONNECTIONS, "more were refused than were under way");
    assert_eq!(refused_late, 0, "the crawler did not obey");
    assert_eq!(asked, PAGES + refused);
    let stats = crawler.meter.stats();
    assert_eq!((stats.started, stats.finished), (asked as u64, asked as u64));
    Ok(())
}

enum Outcome {
    Page(usize, String),
    Refused(usize),
}

struct Crawler {
    meter: Meter,
    /// Idle connections: as many as places, so that a job always finds one.
    idle: Mutex<Vec<SendRequest<Empty<Bytes>>>>,
    /// Whether a refusal has been heard.
    has_heard: AtomicBool,
    refused: AtomicUsize,
    /// Of those that were sent after the first refusal was heard.
    refused_late: AtomicUsize,
}

impl Crawler {
    async fn connect(address: SocketAddr) -> Result<Self, SharedError> {
        let mut idle = Vec::new();
        for _ in 0..CONNECTIONS {
            let socket = TcpStream::connect(address).await?;
            let (requests, connection) = handshake(TokioIo::new(socket)).await?;
            tokio::spawn(connection);
            idle.push(requests);
        }
        Ok(Self {
            meter: Meter::new().max_at_once(CONNECTIONS),
            idle: Mutex::new(idle),
            has_heard: AtomicBool::new(false),
            refused: AtomicUsize::new(0),
            refused_late: AtomicUsize::new(0),
        })
    }

    async fn fetch(&self, page: usize) -> Result<Outcome, SharedError> {
        let is_late = self.has_heard.load(Ordering::SeqCst);
        let connection = self.idle.lock().expect("never locked over a panic").pop();
        let mut connection = connection.expect("a place is a connection");
        // It may have a last word to say about the response before.
        connection.ready().await?;
        let request =
            Request::get(format!("/{page}")).header(header::HOST, "localhost").body(Empty::new())?;
        let response = connection.send_request(request).await?;
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.into_body().collect().await?.to_bytes();
        self.idle.lock().expect("never locked over a panic").push(connection);
        match status {
            StatusCode::OK => Ok(Outcome::Page(page, String::from_utf8(body.into())?)),
            StatusCode::TOO_MANY_REQUESTS => {
                self.obey(&headers)?;
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.refused_late.fetch_add(usize::from(is_late), Ordering::Relaxed);
                Ok(Outcome::Refused(page))
            }
            other => Err(format!("page {page}: {other}").into()),
        }
    }

    /// For all jobs at once: those that wait have not started, and do not until the pause is over.
    fn obey(&self, headers: &HeaderMap) -> Result<(), SharedError> {
        let number = |name| -> Result<f64, SharedError> {
            let value = headers.get(name).ok_or("a refusal says what is allowed")?;
            Ok(value.to_str()?.parse()?)
        };
        let pause = Duration::from_secs_f64(number("retry-after")?);
        self.meter.pause_until(Instant::now() + pause);
        // A little less, for requests do not arrive as evenly as they are sent.
        self.meter.set_max_per_second(0.9 * number("x-ratelimit-limit")?);
        self.has_heard.store(true, Ordering::SeqCst);
        Ok(())
    }
}

/// A server that can be asked so often and no more.
#[derive(Clone, Default)]
struct Server {
    asked: Arc<AtomicUsize>,
    bucket: Arc<Mutex<Bucket>>,
}

/// Fills as time goes by; each request takes one out.
struct Bucket {
    tokens: f64,
    filled: Instant,
}

impl Default for Bucket {
    fn default() -> Self {
        Self { tokens: AT_ONCE, filled: Instant::now() }
    }
}

impl Bucket {
    fn take(&mut self) -> bool {
        let now = Instant::now();
        let new = now.duration_since(self.filled).as_secs_f64() * LIMIT;
        self.tokens = (self.tokens + new).min(AT_ONCE);
        self.filled = now;
        let is_enough = self.tokens >= 1.0;
        if is_enough {
            self.tokens -= 1.0;
        }
        is_enough
    }
}

impl Server {
    async fn answer(State(server): State<Self>, Path(page): Path<usize>) -> Response {
        server.asked.fetch_add(1, Ordering::Relaxed);
        if server.bucket.lock().expect("never locked over a panic").take() {
            return format!("page {page}").into_response();
        }
        let limit = LIMIT.to_string();
        let headers = [("retry-after", "1"), ("x-ratelimit-limit", limit.as_str())];
        (StatusCode::TOO_MANY_REQUESTS, headers, "too many requests").into_response()
    }
}

async fn serve(server: Server) -> Result<SocketAddr, SharedError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let router = Router::new().route("/{page}", get(Server::answer)).with_state(server);
    // Runs until the runtime is dropped.
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}
