//! What the benchmarks share: contenders that take turns, on CPU time, what they do, and the least that it can cost.

pub mod allocations;
pub mod floor;
pub mod work;

use std::time::{Duration, Instant};

use allocations::allocations;
use rustix::time::{ClockId, clock_gettime};

/// CPU time of this process so far.
#[must_use]
pub fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

/// What is asked for on the command line.
#[derive(Clone, Debug)]
pub struct Args {
    /// Each once, to see that it runs.
    pub smoke: bool,
    /// Workloads whose titles begin so; without any, all.
    pub wanted: Vec<String>,
}

impl Args {
    /// Those of this process.
    #[must_use]
    pub fn new() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        // `cargo test --benches` passes no `--bench`.
        let smoke =
            args.iter().any(|arg| arg == "--smoke") || !args.iter().any(|arg| arg == "--bench");
        Self { smoke, wanted: args.into_iter().filter(|arg| !arg.starts_with("--")).collect() }
    }

    /// Whether a workload is to run.
    #[must_use]
    pub fn want(&self, title: &str) -> bool {
        self.wanted.is_empty() || self.wanted.iter().any(|name| title.starts_with(name))
    }

    /// Everything, to be kept.
    #[must_use]
    pub fn whole(&self) -> bool {
        !self.smoke && self.wanted.is_empty()
    }

    /// Rounds, at most, of a contest.
    #[must_use]
    pub fn rounds(&self) -> usize {
        if self.smoke { 1 } else { 31 }
    }

    /// Runs it, if it is wanted.
    pub fn run(&self, contest: Contest) -> Vec<Score> {
        if self.want(&contest.title) { contest.run(self.rounds()) } else { Vec::new() }
    }
}

impl Default for Args {
    fn default() -> Self {
        Self::new()
    }
}

type Run = Box<dyn FnMut()>;

/// A workload: each contender does the same thing so often.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct Contest {
    /// What the workload is called.
    pub title: String,
    calls: u64,
    base: usize,
    contenders: Vec<(&'static str, Run)>,
}

/// How a contender did.
#[derive(Clone, Copy, Debug)]
pub struct Score {
    /// Who.
    pub name: &'static str,
    /// CPU time, to whom all are compared with.
    pub ratio: f64,
    /// CPU nanoseconds of a call.
    pub ns: f64,
    /// Allocations of a call, in the thread that runs the contest.
    pub allocations: f64,
}

/// Long enough for a median; a slow contender has fewer rounds.
const LONGEST: Duration = Duration::from_secs(8);

impl Contest {
    /// Nobody takes part yet.
    #[must_use]
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), calls: 1, base: 0, contenders: Vec::new() }
    }

    /// How many calls each contender makes in a round.
    #[must_use]
    pub fn calls(mut self, calls: u64) -> Self {
        self.calls = calls;
        self
    }

    /// One more contender. The first is what the others are compared with.
    #[must_use]
    pub fn with(mut self, name: &'static str, run: impl FnMut() + 'static) -> Self {
        self.enter(name, run);
        self
    }

    /// One more contender.
    pub fn enter(&mut self, name: &'static str, run: impl FnMut() + 'static) {
        self.contenders.push((name, Box::new(run)));
    }

    /// The last who entered is whom the others are compared with.
    pub fn compare_with_last(&mut self) {
        self.base = self.contenders.len() - 1;
    }

    /// So many rounds at most, and the table.
    pub fn run(mut self, rounds: usize) -> Vec<Score> {
        let mut times = vec![Vec::with_capacity(rounds); self.contenders.len()];
        let mut allocated = vec![0; self.contenders.len()];
        let mut began = Instant::now();
        for round in 0..=rounds {
            for (n, (_, run)) in self.contenders.iter_mut().enumerate() {
                let before = allocations();
                let start = cpu_ns();
                run();
                let took = cpu_ns() - start;
                // The first round warms up.
                if round > 0 || rounds == 1 {
                    times[n].push(took);
                    allocated[n] = allocations() - before;
                }
            }
            match round {
                0 if rounds == 1 => break,
                0 => began = Instant::now(),
                5.. if began.elapsed() > LONGEST => break,
                _ => {}
            }
        }
        println!("\n{}", self.title);
        // Ratios round by round, for the machine drifts between rounds.
        let base = times[self.base].clone();
        let scores = self.contenders.iter().zip(&times).zip(allocated);
        scores
            .map(|(((name, _), times), allocated)| {
                let ratios = sorted(times.iter().zip(&base).map(|(a, b)| a / b));
                let at = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
                let ns = sorted(times.iter().map(|time| time / self.calls as f64));
                let score = Score {
                    name,
                    ratio: at(0.5),
                    ns: ns[(ns.len() - 1) / 2],
                    allocations: allocated as f64 / self.calls as f64,
                };
                println!("  {name:<34} {:>6.2}   ({:.2} to {:.2})", at(0.5), at(0.1), at(0.9));
                score
            })
            .collect()
    }
}

/// Smallest first.
pub fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}
