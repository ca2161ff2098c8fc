//! Bad luck for as long as you like: a web server whose clients hang up, whose handlers run out of time, whose work
//! panics, and whose runtime is shut down under load and started again.
//!
//! Behind axum on two workers are `#[reduceable]` functions, async and plain, an `#[aggregate]` one and a `Meter`. Each
//! phase has a runtime of its own; every second one is shut down in mid-load. After each of them: every request
//! that nobody cut has had an answer, and the right one; nothing is in flight; what was counted adds up. After all of them: the
//! heap is where it was after the first.
//!
//! ```text
//! cargo run --release --example soak -- --seconds 3600 --seed 7 --csv heap.csv
//! ```

use std::alloc::{GlobalAlloc, Layout, System};
use std::fmt::Write;
use std::net::SocketAddr;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, LazyLock};
use std::thread;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::Path;
use axum::http::{Request, StatusCode, header};
use axum::routing::get;
use futures_util::FutureExt;
use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use reducer_core::{
    Meter, Reducer, SharedError, StatisticsOverallHooks, aggregate, reduceable, set_global_hooks,
};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::{Builder, Runtime};
use tokio::task::{JoinHandle, JoinSet, spawn_blocking};
use tokio::time::{sleep, timeout};

const KEYS: u64 = 12;
const CLIENTS: u64 = 48;
const ASKS: usize = 30;
const FEWEST_PHASES: usize = 12;
/// Nothing takes this long: who waits for ever has failed as well.
const PATIENCE: Duration = Duration::from_secs(120);
/// What the heap may differ by: a buffer here, a queue there.
const SLACK: f64 = 16.0 * 1024.0;

static METER: LazyLock<Meter> = LazyLock::new(|| Meter::new().max_at_once(4));

#[reduceable(meter = METER)]
async fn page(n: u64) -> Result<String, SharedError> {
    let _alone = Alone::enter(n);
    nap(3).await;
    mishap(20);
    let user = user(n).await?;
    nap(3).await;
    Ok(format!("page {n} of {user}"))
}

#[aggregate(leeway = "1ms", max_count = 8)]
async fn user(ids: Vec<u64>) -> Result<Vec<String>, SharedError> {
    nap(2).await;
    mishap(30);
    if roll(30) == 0 {
        return Err("no database".into());
    }
    Ok(ids.iter().map(|id| format!("user {id}")).collect())
}

#[reduceable(timeout = "3ms")]
async fn slow(n: u64) -> Result<String, SharedError> {
    nap(8).await;
    Ok(format!("slow {n}"))
}

#[reduceable]
fn render(n: u64) -> Arc<str> {
    thread::sleep(Duration::from_micros(roll(2_000)));
    mishap(20);
    format!("render {n}").into()
}

fn expected(path: &str, n: u64) -> String {
    match path {
        "page" => format!("page {n} of user {n}"),
        path => format!("{path} {n}"),
    }
}

async fn nap(milliseconds: u64) {
    sleep(Duration::from_micros(roll(milliseconds * 1_000))).await;
}

/// Panics once in `n` times.
fn mishap(n: u64) {
    assert!(roll(n) > 0, "{MISHAP}");
}

const MISHAP: &str = "a mishap of the soak";

/// The work of one key, which must be the only one.
struct Alone(usize);

static RUNNING: [AtomicUsize; KEYS as usize] = [const { AtomicUsize::new(0) }; KEYS as usize];
static OVERLAPS: AtomicUsize = AtomicUsize::new(0);

impl Alone {
    fn enter(n: u64) -> Self {
        let n = n as usize;
        OVERLAPS.fetch_add(RUNNING[n].fetch_add(1, SeqCst), SeqCst);
        Self(n)
    }
}

impl Drop for Alone {
    fn drop(&mut self) {
        RUNNING[self.0].fetch_sub(1, SeqCst);
    }
}

/// Where the numbers of this process come from.
static DICE: AtomicU64 = AtomicU64::new(0);

/// A number below `n`, as from splitmix64.
fn roll(n: u64) -> u64 {
    let mut z = DICE.fetch_add(0x9e37_79b9_7f4a_7c15, SeqCst);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (z ^ (z >> 31)) % n
}

fn main() -> Result<(), SharedError> {
    let options = Options::parse()?;
    println!("seed {}, {} s", options.seed, options.seconds);
    DICE.store(options.seed, SeqCst);
    let said_by_default = panic::take_hook();
    panic::set_hook(Box::new(move |panic| {
        let said = panic.payload();
        let text = said.downcast_ref::<String>().map(String::as_str);
        if text.or(said.downcast_ref::<&str>().copied()) != Some(MISHAP) {
            said_by_default(panic);
        }
    }));
    let stats = StatisticsOverallHooks::new();
    set_global_hooks(stats.clone())?;
    let clients = Builder::new_current_thread().enable_all().build()?;

    let start = Instant::now();
    let mut tally = Tally::default();
    let mut heap = Vec::new();
    while start.elapsed().as_secs() < options.seconds || heap.len() < FEWEST_PHASES {
        let phase = heap.len();
        let of_phase = run_phase(&clients, phase % 2 == 1)
            .map_err(|error| format!("seed {}, phase {phase}: {error}", options.seed))?;
        tally.add(&of_phase);
        assert_eq!(stats.total(), stats.executed() + stats.reduced(), "phase {phase}");
        // Less what these numbers themselves take.
        heap.push(IN_USE.load(SeqCst) - (heap.capacity() * size_of::<i64>()) as i64);
    }

    println!("{} phases: {tally:?}", heap.len());
    println!("{stats}");
    if let Some(file) = &options.csv {
        let mut lines = String::from("phase,bytes\n");
        for (phase, bytes) in heap.iter().enumerate() {
            writeln!(lines, "{phase},{bytes}")?;
        }
        std::fs::write(file, lines)?;
    }
    judge(&heap, &tally, &stats);
    Ok(())
}

struct Options {
    seconds: u64,
    seed: u64,
    csv: Option<String>,
}

impl Options {
    fn parse() -> Result<Self, SharedError> {
        let mut options = Self { seconds: 10, seed: 1, csv: None };
        let mut words = std::env::args().skip(1);
        while let Some(word) = words.next() {
            let value = words.next().ok_or_else(|| format!("`{word}` needs a value"))?;
            match word.as_str() {
                "--seconds" => options.seconds = value.parse()?,
                "--seed" => options.seed = value.parse()?,
                "--csv" => options.csv = Some(value),
                _ => return Err(format!("`{word}`: not `--seconds`, `--seed` or `--csv`").into()),
            }
        }
        Ok(options)
    }
}

/// How requests ended.
#[derive(Debug, Default)]
struct Tally {
    answered: u64,
    /// 500, 503, 504: the work panicked, or failed, or the handler's time was over.
    panicked: u64,
    failed: u64,
    timed_out: u64,
    /// By the client, and by the end of the server's runtime.
    hung_up: u64,
    cut: u64,
}

impl Tally {
    fn add(&mut self, other: &Self) {
        self.answered += other.answered;
        self.panicked += other.panicked;
        self.failed += other.failed;
        self.timed_out += other.timed_out;
        self.hung_up += other.hung_up;
        self.cut += other.cut;
    }
}

/// A server, a herd, and what is left of them: nothing.
fn run_phase(clients: &Runtime, shuts_down: bool) -> Result<Tally, SharedError> {
    let server = Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    let address = server.block_on(serve())?;
    let is_down = Arc::new(AtomicBool::new(false));
    let (tally, server) = clients.block_on(async {
        let herd = async {
            let mut herd = JoinSet::new();
            for _ in 0..CLIENTS {
                herd.spawn(ask_and_ask(address, Arc::clone(&is_down)));
            }
            let (mut tally, mut server, mut done) = (Tally::default(), Some(server), 0);
            while let Some(client) = herd.join_next().await {
                tally.add(&client??);
                done += 1;
                if shuts_down && done == CLIENTS / 4 {
                    is_down.store(true, SeqCst);
                    let server = server.take().expect("it is shut down once");
                    // Elsewhere, for it waits for its threads.
                    spawn_blocking(move || drop(server)).await?;
                }
            }
            while server.is_some() && !is_quiet() {
                sleep(Duration::from_millis(1)).await;
            }
            Ok::<_, SharedError>((tally, server))
        };
        timeout(PATIENCE, herd).await.map_err(|_| "somebody waits in vain")?
    })?;
    drop(server);
    if !is_quiet() {
        let (flights, visits) = (Reducer::global().in_flight(), VISITS.load(SeqCst));
        return Err(format!("{flights} flights, {visits} visits, {:?}", METER.stats()).into());
    }
    match OVERLAPS.load(SeqCst) {
        0 => Ok(tally),
        overlaps => Err(format!("{overlaps} works began beside another of their key").into()),
    }
}

/// Whether nothing goes on.
fn is_quiet() -> bool {
    let meter = METER.stats();
    Reducer::global().in_flight() == 0
        && VISITS.load(SeqCst) == 0
        && (meter.running, meter.waiting) == (0, 0)
}

async fn serve() -> Result<SocketAddr, SharedError> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    let rendered = async |n| Ok(spawn_blocking(move || render(n)).await?.to_string());
    let router = Router::new()
        .route("/page/{n}", get(async |Path(n): Path<u64>| answer(page(n)).await))
        .route("/slow/{n}", get(async |Path(n): Path<u64>| answer(slow(n)).await))
        .route("/render/{n}", get(async move |Path(n): Path<u64>| answer(rendered(n)).await));
    tokio::spawn(async move { axum::serve(listener, router).await });
    Ok(address)
}

static VISITS: AtomicUsize = AtomicUsize::new(0);

/// A request in its handler.
struct Visit;

impl Visit {
    fn begin() -> Self {
        VISITS.fetch_add(1, SeqCst);
        Self
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        VISITS.fetch_sub(1, SeqCst);
    }
}

/// The handler: it has little time, and survives a panic of the work.
async fn answer(work: impl Future<Output = Result<String, SharedError>>) -> (StatusCode, String) {
    let _visit = Visit::begin();
    let time = Duration::from_micros(1_000 + roll(12_000));
    match timeout(time, AssertUnwindSafe(work).catch_unwind()).await {
        Ok(Ok(Ok(body))) => (StatusCode::OK, body),
        Ok(Ok(Err(error))) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
        Ok(Err(_)) => (StatusCode::INTERNAL_SERVER_ERROR, MISHAP.to_owned()),
        Err(late) => (StatusCode::GATEWAY_TIMEOUT, late.to_string()),
    }
}

/// A client: asks, hangs up now and then, and holds the server to its answers.
async fn ask_and_ask(address: SocketAddr, is_down: Arc<AtomicBool>) -> Result<Tally, SharedError> {
    let mut tally = Tally::default();
    let mut kept = None;
    for _ in 0..ASKS {
        let (path, n) = (["page", "page", "slow", "render"][roll(4) as usize], roll(KEYS));
        let patience = (roll(4) == 0).then(|| Duration::from_micros(roll(5_000)));
        let asked = async {
            let mut connection = match kept.take() {
                Some(connection) => connection,
                None => Connection::open(address).await?,
            };
            let answer = connection.ask(path, n).await?;
            Ok::<_, SharedError>((connection, answer))
        };
        let asked = match patience {
            None => Ok(asked.await),
            Some(patience) => timeout(patience, asked).await,
        };
        match asked {
            Err(_) => tally.hung_up += 1,
            Ok(Err(_)) if is_down.load(SeqCst) => {
                tally.cut += 1;
                break;
            }
            Ok(Err(error)) => return Err(format!("no reply for {path} {n}: {error}").into()),
            Ok(Ok((connection, (status, body)))) => {
                kept = Some(connection);
                *match status {
                    StatusCode::OK if body == expected(path, n) => &mut tally.answered,
                    StatusCode::INTERNAL_SERVER_ERROR => &mut tally.panicked,
                    StatusCode::SERVICE_UNAVAILABLE => &mut tally.failed,
                    StatusCode::GATEWAY_TIMEOUT => &mut tally.timed_out,
                    _ => return Err(format!("{path} {n}: {status}, {body}").into()),
                } += 1;
            }
        }
    }
    Ok(tally)
}

/// A socket, which goes with its task.
struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    task: JoinHandle<hyper::Result<()>>,
}

impl Connection {
    async fn open(address: SocketAddr) -> Result<Self, SharedError> {
        let socket = TcpStream::connect(address).await?;
        let (requests, connection) = handshake(TokioIo::new(socket)).await?;
        Ok(Self { requests, task: tokio::spawn(connection) })
    }

    async fn ask(&mut self, path: &str, n: u64) -> Result<(StatusCode, String), SharedError> {
        self.requests.ready().await?;
        let request = Request::get(format!("/{path}/{n}"))
            .header(header::HOST, "localhost")
            .body(Empty::new())?;
        let response = self.requests.send_request(request).await?;
        let status = response.status();
        let body = response.into_body().collect().await?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// Shows the heap, and holds its end against its beginning.
fn judge(heap: &[i64], tally: &Tally, stats: &StatisticsOverallHooks) {
    // The first phases fill what is kept for good: tables, pools, thread-locals.
    let warm = &heap[heap.len() / 10 + 2..];
    let third = warm.len() / 3;
    let mean = |part: &[i64]| part.iter().sum::<i64>() as f64 / part.len() as f64;
    let (first, last) = (mean(&warm[..third]), mean(&warm[warm.len() - third..]));
    println!("heap after each phase, {} in all:\n{}", heap.len(), plot(heap));
    println!(
        "first third {:.1} KiB, last third {:.1} KiB, slack 10 % and {:.0} KiB",
        first / 1024.0,
        last / 1024.0,
        SLACK / 1024.0
    );
    assert!(last <= first * 1.1 + SLACK, "the heap grows");
    let Tally { answered, panicked, failed, timed_out, hung_up, cut } = tally;
    for (what, times) in [
        ("was answered", answered),
        ("panicked", panicked),
        ("failed", failed),
        ("timed out", timed_out),
        ("hung up", hung_up),
        ("was cut", cut),
        ("was reduced", &stats.reduced()),
    ] {
        assert!(*times > 0, "nothing {what}: this shows too little");
    }
    println!("no reply lost, none wrong, nothing left in flight");
}

/// A line as high as the heap, sixty columns at most.
fn plot(heap: &[i64]) -> String {
    let (low, high) = (heap.iter().min().unwrap_or(&0), heap.iter().max().unwrap_or(&0));
    let columns = heap.chunks(heap.len().div_ceil(60)).map(|part| {
        let mean = part.iter().sum::<i64>() / part.len() as i64;
        let height = (mean - low) * 7 / (high - low).max(1);
        ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'][height as usize]
    });
    let line: String = columns.collect();
    format!("{line}  {} to {} KiB", low / 1024, high / 1024)
}

/// Bytes that were allocated and not freed yet, by all threads.
static IN_USE: AtomicI64 = AtomicI64::new(0);

struct Counting;

#[global_allocator]
static ALLOCATOR: Counting = Counting;

#[allow(unsafe_code, reason = "a counting allocator hands everything to the system's")]
// SAFETY: every call goes to `System` unchanged.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        IN_USE.fetch_add(layout.size() as i64, SeqCst);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        IN_USE.fetch_sub(layout.size() as i64, SeqCst);
        // SAFETY: the caller's promise, passed on.
        unsafe { System.dealloc(ptr, layout) }
    }
}
