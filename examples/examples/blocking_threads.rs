//! Threads, no async at all: eight workers are asked for thumbnails of the same ten pages, and share
//! the renders that overlap.
//!
//! ```text
//! cargo run --release --example blocking_threads
//! ```

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;

use reducer_core::{Reducer, reduceable};

const PAGES: u32 = 10;
const READERS: u32 = 40;
const REQUESTS: usize = (PAGES * READERS) as usize;
const WORKERS: usize = 8;
const WIDTH: u32 = 120;

/// The pages in full size. Who needs one waits until they are scanned.
static SCANS: OnceLock<Vec<Image>> = OnceLock::new();
static RENDERS: AtomicUsize = AtomicUsize::new(0);

fn main() {
    // A burst: forty readers turn to the first page at once, then to the next.
    let (ask, requests) = mpsc::channel();
    for page in 0..PAGES {
        (0..READERS).for_each(|_| ask.send(page).expect("the other end is here"));
    }
    drop(ask);

    let requests = Mutex::new(requests);
    let thumbnails: Vec<(u32, Arc<Image>)> = thread::scope(|threads| {
        let workers: Vec<_> = (0..WORKERS).map(|_| threads.spawn(|| answer(&requests))).collect();

        // Each has a request for the first page by now, and the pages are yet to be scanned. One of
        // them leads, the others have joined it.
        while Reducer::global().callers(&(0u32, WIDTH)) < WORKERS {
            thread::yield_now();
        }
        assert_eq!(RENDERS.load(Ordering::Relaxed), 0);
        println!("{WORKERS} workers wait for one render of the first page");
        SCANS.set((0..PAGES).map(scan).collect()).expect("scanned once");

        workers.into_iter().flat_map(|worker| worker.join().expect("no worker panics")).collect()
    });

    let renders = RENDERS.load(Ordering::Relaxed);
    println!("{} requests for {PAGES} pages: {renders} renders", thumbnails.len());
    assert_eq!(thumbnails.len(), REQUESTS);
    // How many more overlap is up to the machine; that the first eight do is certain.
    assert!((PAGES as usize..=REQUESTS - (WORKERS - 1)).contains(&renders));

    // What was rendered once is also there once, however many have it.
    let distinct: HashSet<_> = thumbnails.iter().map(|(_, image)| Arc::as_ptr(image)).collect();
    assert_eq!(distinct.len(), renders);
    let direct: Vec<_> = (0..PAGES).map(|page| scan(page).shrink_to(WIDTH)).collect();
    for (page, image) in &thumbnails {
        assert_eq!(**image, direct[*page as usize], "a wrong thumbnail of page {page}");
    }
    println!("every thumbnail is as one computes it alone");
}

/// A worker's day: takes a request, answers it, until there are no more.
fn answer(requests: &Mutex<mpsc::Receiver<u32>>) -> Vec<(u32, Arc<Image>)> {
    let next = || requests.lock().expect("nobody panics here").recv().ok();
    std::iter::from_fn(next).map(|page| (page, thumbnail(page, WIDTH))).collect()
}

/// Both arguments are the key. Every caller gets a clone, so the image is in an `Arc`.
#[reduceable]
fn thumbnail(page: u32, width: u32) -> Arc<Image> {
    let scans = SCANS.wait();
    RENDERS.fetch_add(1, Ordering::Relaxed);
    Arc::new(scans[page as usize].shrink_to(width))
}

/// Shades of grey, row by row.
#[derive(Debug, PartialEq)]
struct Image {
    width: u32,
    pixels: Vec<u8>,
}

/// A page as the scanner sees it: every one different, and the same each time.
fn scan(page: u32) -> Image {
    let (width, height) = (1200, 1600);
    let shade = |x: u32, y: u32| ((x * (page + 1)) ^ (y * 3)) as u8;
    let pixels = (0..height).flat_map(|y| (0..width).map(move |x| shade(x, y))).collect();
    Image { width, pixels }
}

impl Image {
    /// Each pixel of the smaller image is the mean of a square of this one.
    fn shrink_to(&self, width: u32) -> Self {
        let side = (self.width / width) as usize;
        let mut pixels = Vec::new();
        for rows in self.pixels.chunks_exact(self.width as usize * side) {
            for left in (0..width as usize).map(|column| column * side) {
                let lines = rows.chunks_exact(self.width as usize);
                let sum: usize =
                    lines.flat_map(|row| &row[left..left + side]).map(|&p| p as usize).sum();
                pixels.push((sum / (side * side)) as u8);
            }
        }
        Self { width, pixels }
    }
}
