//! What the benchmarks share: contenders that take turns, on CPU time, what they do, and the least that it can cost.

pub mod allocations;
pub mod floor;
pub mod work;

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ahash::RandomState;
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
    /// Which of the processes it is that run a contest, if it is one of them.
    process: Option<usize>,
}

/// Rounds, at most, of a contest.
const ROUNDS: usize = 30;

/// How many processes share the rounds. Where code and memory happen to lie is worth some hundredths, for as long as a
/// process lives.
const PROCESSES: usize = 5;

impl Args {
    /// Those of this process.
    #[must_use]
    pub fn new() -> Self {
        let args: Vec<String> = std::env::args().skip(1).collect();
        // `cargo test --benches` passes no `--bench`.
        let smoke =
            args.iter().any(|arg| arg == "--smoke") || !args.iter().any(|arg| arg == "--bench");
        let process = args.iter().find_map(|arg| arg.strip_prefix(PROCESS)?.parse().ok());
        let wanted = args.into_iter().filter(|arg| !arg.starts_with("--")).collect();
        Self { smoke, wanted, process }
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
        if self.smoke { 1 } else { ROUNDS }
    }

    /// Runs it, if it is wanted.
    ///
    /// # Panics
    /// If a process of the contest fails.
    pub fn run(&self, mut contest: Contest) -> Vec<Score> {
        if !self.want(&contest.title) {
            return Vec::new();
        }
        if let Some(process) = self.process {
            contest.run(process, ROUNDS / PROCESSES, LONGEST / PROCESSES as u32).send();
            return Vec::new();
        }
        if self.smoke {
            let times = contest.run(0, 0, LONGEST);
            return contest.judge(&times);
        }
        let mut times = Times::default();
        for process in 0..PROCESSES {
            times.add(Times::of_process(process, &contest.title));
        }
        contest.judge(&times)
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

/// What tells a process which it is.
const PROCESS: &str = "--process=";

/// What contenders took, each in every round: CPU nanoseconds, and allocations in the last.
#[derive(Default)]
struct Times(Vec<(Vec<f64>, u64)>);

impl Times {
    /// Those of a process of its own.
    fn of_process(process: usize, title: &str) -> Self {
        let this = std::env::current_exe().expect("a program knows itself");
        let ran = Command::new(this)
            .args(["--bench", &format!("{PROCESS}{process}"), title])
            .stderr(Stdio::inherit())
            .output()
            .expect("it runs once more");
        assert!(ran.status.success(), "{title}: {}", ran.status);
        let sent = String::from_utf8(ran.stdout).expect("numbers");
        let number = |text: &str| text.parse::<f64>().expect("a number");
        let times = sent.lines().map(|line| {
            let (allocated, times) = line.split_once(' ').expect("a contender");
            (times.split(' ').map(number).collect(), number(allocated) as u64)
        });
        Self(times.collect())
    }

    /// To whom asked for a process.
    fn send(self) {
        for (times, allocated) in self.0 {
            let times: Vec<_> = times.iter().map(f64::to_string).collect();
            println!("{allocated} {}", times.join(" "));
        }
    }

    /// More rounds of the same.
    fn add(&mut self, more: Self) {
        self.0.resize_with(more.0.len(), Default::default);
        for ((times, allocated), more) in self.0.iter_mut().zip(more.0) {
            times.extend(more.0);
            *allocated = more.1;
        }
    }
}

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

    /// So many rounds at most, and one that warms up, or is all there is.
    fn run(&mut self, process: usize, rounds: usize, longest: Duration) -> Times {
        let mut all = Times(vec![(Vec::with_capacity(rounds), 0); self.contenders.len()]);
        // Who comes after whom is worth something: each time another.
        let shuffle = RandomState::with_seeds(1, 2, 3, process as u64);
        let mut order: Vec<usize> = (0..self.contenders.len()).collect();
        let mut began = Instant::now();
        for round in 0..=rounds {
            order.sort_by_key(|contender| shuffle.hash_one((round, contender)));
            for &contender in &order {
                let before = allocations();
                let start = cpu_ns();
                (self.contenders[contender].1)();
                let took = cpu_ns() - start;
                if round > 0 || rounds == 0 {
                    let (times, allocated) = &mut all.0[contender];
                    times.push(took);
                    *allocated = allocations() - before;
                }
            }
            match round {
                0 => began = Instant::now(),
                _ if began.elapsed() > longest => break,
                _ => {}
            }
        }
        all
    }

    /// The table.
    fn judge(&self, Times(all): &Times) -> Vec<Score> {
        println!("\n{}", self.title);
        // Ratios round by round, for the machine drifts between rounds.
        let base = &all[self.base].0;
        let scores = self.contenders.iter().zip(all).map(|((name, _), (times, allocated))| {
            let ratios = sorted(times.iter().zip(base).map(|(a, b)| a / b));
            let at = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
            let ns = sorted(times.iter().map(|time| time / self.calls as f64));
            let score = Score {
                name,
                ratio: at(0.5),
                ns: ns[(ns.len() - 1) / 2],
                allocations: *allocated as f64 / self.calls as f64,
            };
            println!("  {name:<34} {:>6.2}   ({:.2} to {:.2})", at(0.5), at(0.1), at(0.9));
            score
        });
        scores.collect()
    }
}

/// Smallest first.
pub fn sorted(numbers: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut numbers: Vec<f64> = numbers.collect();
    numbers.sort_by(f64::total_cmp);
    numbers
}
