//! What the benchmarks share: contenders that take turns, on CPU time, what they do, and the least that it can cost.

pub mod allocations;
pub mod floor;
pub mod work;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of this process so far.
#[must_use]
pub fn cpu_ns() -> f64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    now.tv_sec as f64 * 1e9 + now.tv_nsec as f64
}

type Run = Box<dyn FnMut()>;

/// A workload: each contender does the same thing so often.
#[expect(missing_debug_implementations, reason = "it holds closures")]
pub struct Contest {
    /// What the workload is called.
    pub title: &'static str,
    contenders: Vec<(&'static str, Run)>,
}

impl Contest {
    /// Nobody takes part yet.
    #[must_use]
    pub fn new(title: &'static str) -> Self {
        Self { title, contenders: Vec::new() }
    }

    /// One more contender. The first is what the others are compared with.
    #[must_use]
    pub fn with(mut self, name: &'static str, run: impl FnMut() + 'static) -> Self {
        self.contenders.push((name, Box::new(run)));
        self
    }

    /// So many rounds, and the table.
    pub fn run(mut self, rounds: usize) {
        let mut times = vec![Vec::with_capacity(rounds); self.contenders.len()];
        for round in 0..=rounds {
            for ((_, run), times) in self.contenders.iter_mut().zip(&mut times) {
                let start = cpu_ns();
                run();
                let took = cpu_ns() - start;
                // The first round warms up.
                if round > 0 || rounds == 1 {
                    times.push(took);
                }
            }
        }
        println!("\n{}", self.title);
        // Ratios round by round, for the machine drifts between rounds.
        let base = times[0].clone();
        for ((name, _), times) in self.contenders.iter().zip(&times) {
            let mut ratios: Vec<f64> = times.iter().zip(&base).map(|(a, b)| a / b).collect();
            ratios.sort_by(f64::total_cmp);
            let at = |share: f64| ratios[((ratios.len() - 1) as f64 * share) as usize];
            println!("  {name:<34} {:>6.2}   ({:.2} to {:.2})", at(0.5), at(0.1), at(0.9));
        }
    }
}
