//! When the next start may be: arithmetic alone, without a clock.
//!
//! A GCRA that keeps its ideal schedule. Start *n* is due one period after start *n - 1* was **due**, not
//! after it happened: a timer that rings late makes one start late, not all that follow.
//!
//! # How far the schedule may lie behind
//!
//! Two allowances, apart from each other:
//!
//! - **burst**: what was *not asked for*. After a quiet while `burst` starts may happen at once; with 1, none
//!   is saved up.
//! - **slack**: what was *asked for and could not happen*, for timers tick in milliseconds and machines are
//!   busy. It is the worst lateness seen since the last quiet while, never more than the tolerance. What is owed
//!   beyond it is written off. On a clock that is never late it is zero, so that the gaps are exact.

/// A point in time or a span, in `1 / PER_NANO` of a nanosecond: a third of a second is kept without drifting.
pub(super) type Ticks = i128;

pub(super) const PER_NANO: Ticks = 1 << 32;

/// Of so many nanoseconds.
pub(super) fn ticks(nanos: u128) -> Ticks {
    Ticks::try_from(nanos).map_or(FAR, |nanos| nanos.saturating_mul(PER_NANO).min(FAR))
}

/// Beyond any clock, and still far from an overflow.
const FAR: Ticks = Ticks::MAX / 4;

/// Ten thousand years: so rare that it is never, and sums of it do not overflow.
const NEVER: Ticks = 315_360_000_000_000_000_000 * PER_NANO;

#[derive(Clone, Debug)]
pub(super) struct Pacer {
    /// Between two starts; zero without a rate.
    period: Ticks,
    burst: u32,
    tolerance: Ticks,
    /// When the next start is due. None before the first.
    due: Option<Ticks>,
    /// No start before this.
    pause: Option<Ticks>,
    slack: Ticks,
    /// What `due` was before the latest start.
    undo: Option<Ticks>,
}

impl Pacer {
    pub(super) fn new(tolerance: Ticks) -> Self {
        Self { period: 0, burst: 1, tolerance, due: None, pause: None, slack: 0, undo: None }
    }

    /// Whether starts need no clock at all.
    pub(super) fn is_free(&self) -> bool {
        self.period == 0 && self.pause.is_none()
    }

    /// The start that somebody has been asking for `since`, if it may happen `now`; else when it may.
    pub(super) fn start(&mut self, now: Ticks, since: Ticks) -> Result<(), Ticks> {
        let since = since.min(now);
        let due = self.due_if_asked(since);
        if due > now {
            return Err(due);
        }
        if self.is_quiet(since) {
            self.slack = 0;
        }
        let late = now - due.max(since);
        self.slack = self.slack.max(late).min(self.tolerance);
        let due = due.max(now - self.credit() - self.slack);
        self.undo = self.due;
        self.due = Some(due + self.period);
        self.pause = None;
        Ok(())
    }

    /// When somebody may start who has been asking `since`, with `ahead` others before.
    pub(super) fn due(&self, since: Ticks, ahead: u64) -> Ticks {
        let wait = self.period.saturating_mul(Ticks::from(ahead)).min(NEVER);
        self.due_if_asked(since) + wait
    }

    fn due_if_asked(&self, since: Ticks) -> Ticks {
        let slack = if self.is_quiet(since) { 0 } else { self.slack };
        let earliest = since - self.credit() - slack;
        self.due.map_or(earliest, |due| due.max(earliest)).max(self.pause.unwrap_or(Ticks::MIN))
    }

    /// Whether nobody had been asking for longer than the tolerance.
    fn is_quiet(&self, since: Ticks) -> bool {
        self.due.is_none_or(|due| due < since - self.credit() - self.tolerance)
    }

    fn credit(&self) -> Ticks {
        self.period.saturating_mul(Ticks::from(self.burst - 1)).min(NEVER)
    }

    /// The latest start did not happen after all.
    pub(super) fn give_back(&mut self) {
        if let Some(due) = self.undo.take() {
            self.due = Some(due);
        }
    }

    /// Whether the schedule is where it would be if nothing had ever started.
    pub(super) fn is_settled(&self, now: Ticks) -> bool {
        self.pause.is_none_or(|pause| pause <= now)
            && self.due.is_none_or(|due| due <= now - self.credit())
    }

    /// Starts so many a second from now on.
    pub(super) fn set_rate(&mut self, now: Ticks, per_second: f64) {
        // Saturates: what is too slow to be told from never is never.
        let period = (1e9 / per_second * PER_NANO as f64) as Ticks;
        let before = std::mem::replace(&mut self.period, period.clamp(0, NEVER));
        let saved = now - self.credit();
        self.due = self.due.map(|due| (due - before + self.period).max(saved));
        self.undo = None;
    }

    pub(super) fn set_burst(&mut self, burst: u32) {
        self.burst = burst;
    }

    pub(super) fn set_tolerance(&mut self, tolerance: Ticks) {
        self.tolerance = tolerance;
        self.slack = self.slack.min(tolerance);
    }

    /// No start before `until`. An earlier pause that lasts longer goes on.
    pub(super) fn pause(&mut self, until: Ticks) {
        self.pause = self.pause.max(Some(until));
    }

    /// The clock is another one now, which is behind by so much.
    pub(super) fn shift_back(&mut self, by: Ticks) {
        for moment in [&mut self.due, &mut self.pause, &mut self.undo].into_iter().flatten() {
            *moment -= by;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Ticks = 1_000_000 * PER_NANO;

    fn pacer(per_second: f64) -> Pacer {
        let mut pacer = Pacer::new(5 * MS);
        pacer.set_rate(0, per_second);
        pacer
    }

    /// Starts as soon as the pacer and a clock that ticks every `tick` allow, asking again at once.
    fn starts(pacer: &mut Pacer, from: Ticks, tick: Ticks, count: usize) -> Vec<Ticks> {
        let mut now = from;
        let mut asked = from;
        let mut starts = Vec::new();
        while starts.len() < count {
            match pacer.start(now, asked) {
                Ok(()) => {
                    starts.push(now);
                    asked = now;
                }
                Err(due) => now = (due + tick - 1) / tick * tick,
            }
        }
        starts
    }

    #[test]
    fn starts_are_a_period_apart() {
        assert_eq!(starts(&mut pacer(100.0), 0, 1, 3), [0, 10 * MS, 20 * MS]);
        assert_eq!(starts(&mut pacer(0.2), 7 * MS, 1, 3), [7 * MS, 5_007 * MS, 10_007 * MS]);
    }

    #[test]
    fn a_clock_of_milliseconds_costs_no_start() {
        for rate in [100, 300, 999, 1_000, 1_001, 5_000, 50_000] {
            let starts = starts(&mut pacer(rate.into()), 0, MS, rate as usize + 1);
            let second = 1_000 * MS;
            assert!((starts[rate as usize] - second).abs() <= MS, "{rate} per second");
            // Never more at once than what a tick owes.
            let most = starts.chunk_by(|a, b| a == b).map(<[_]>::len).max().unwrap();
            assert!(most <= rate as usize / 1_000 + 1, "{most} at once at {rate} per second");
        }
    }

    #[test]
    fn nothing_is_saved_up_in_a_quiet_while() {
        let mut pacer = pacer(100.0);
        starts(&mut pacer, 0, 1, 3);
        assert_eq!(starts(&mut pacer, 23 * MS, 1, 2), [30 * MS, 40 * MS]);
        assert_eq!(starts(&mut pacer, 53 * MS, 1, 3), [53 * MS, 63 * MS, 73 * MS]);
        assert_eq!(starts(&mut pacer, 5_000 * MS, 1, 2), [5_000 * MS, 5_010 * MS]);
    }

    #[test]
    fn slack_ends_with_a_quiet_while() {
        let mut pacer = pacer(1_000.0);
        pacer.start(0, 0).unwrap();
        pacer.start(4 * MS, 0).unwrap(); // was due at 1: three are owed
        assert_eq!(starts(&mut pacer, 4 * MS, 1, 4), [4 * MS, 4 * MS, 4 * MS, 5 * MS]);
        let after = starts(&mut pacer, 100 * MS, 1, 3);
        assert_eq!(after, [100 * MS, 101 * MS, 102 * MS]);
    }

    #[test]
    fn a_burst_is_saved_up_and_no_more() {
        let mut pacer = pacer(100.0);
        pacer.set_burst(3);
        assert_eq!(starts(&mut pacer, 0, 1, 5), [0, 0, 0, 10 * MS, 20 * MS]);
        assert_eq!(starts(&mut pacer, 45 * MS, 1, 3), [45 * MS, 45 * MS, 50 * MS]);
        let after = starts(&mut pacer, 9_000 * MS, 1, 4);
        assert_eq!(after, [9_000 * MS, 9_000 * MS, 9_000 * MS, 9_010 * MS]);
    }

    #[test]
    fn what_is_owed_beyond_the_tolerance_is_written_off() {
        let mut pacer = pacer(1_000.0);
        pacer.start(0, 0).unwrap();
        // Asked for at 0, and nobody came to start it for a second.
        assert_eq!(starts(&mut pacer, 1_000 * MS, 1, 1), [1_000 * MS]);
        pacer.start(2_000 * MS, 1_000 * MS).unwrap();
        let at_once = starts(&mut pacer, 2_000 * MS, 1, 20);
        assert_eq!(at_once.iter().filter(|start| **start == 2_000 * MS).count(), 5);
    }

    #[test]
    fn a_pause_moves_the_schedule_and_leaves_no_burst_behind() {
        let mut pacer = pacer(100.0);
        pacer.set_burst(5);
        pacer.start(0, 0).unwrap();
        pacer.pause(100 * MS);
        pacer.pause(50 * MS);
        assert_eq!(starts(&mut pacer, MS, 1, 3), [100 * MS, 110 * MS, 120 * MS]);
    }

    #[test]
    fn a_new_rate_counts_from_the_latest_start() {
        let mut pacer = pacer(1.0);
        pacer.start(0, 0).unwrap();
        pacer.set_rate(5 * MS, 100.0);
        assert_eq!(pacer.due(0, 0), 10 * MS);
        assert_eq!(pacer.due(0, 3), 40 * MS);
        pacer.set_rate(5 * MS, 0.5);
        assert_eq!(pacer.due(0, 0), 2_000 * MS);
        pacer.set_rate(500 * MS, 10.0);
        assert_eq!(starts(&mut pacer, 500 * MS, 1, 2), [500 * MS, 600 * MS]);
    }

    #[test]
    fn a_start_is_given_back_once() {
        let mut pacer = pacer(100.0);
        pacer.start(0, 0).unwrap();
        pacer.start(10 * MS, 0).unwrap();
        pacer.give_back();
        pacer.give_back();
        assert_eq!(pacer.due(10 * MS, 0), 10 * MS);
    }

    #[test]
    fn rates_beyond_all_measure_neither_overflow_nor_hang() {
        let mut slow = pacer(f64::MIN_POSITIVE);
        slow.set_burst(u32::MAX);
        slow.start(0, 0).unwrap();
        assert!(slow.due(0, u64::MAX) > 0);
        let mut fast = pacer(f64::MAX);
        assert_eq!(starts(&mut fast, 0, MS, 1_000), [0; 1_000]);
        fast.pause(ticks(u128::MAX));
        assert!(fast.start(MS, MS).is_err());
    }
}
