//! To the `metrics` facade, and from there to whatever exporter the program has.

use ::metrics::{counter, gauge, histogram};

use super::{Call, Hooks};
use crate::reducer::Role;

/// Tells the [`metrics`](https://docs.rs/metrics) facade. The program installs the exporter, before the first call.
///
/// | name | kind | labels |
/// |---|---|---|
/// | `reducer_calls_total` | counter | `function`, `role`: `leader` or `follower` |
/// | `reducer_errors_total` | counter | `function`, `kind`: `error`, `panic` or `timeout` |
/// | `reducer_cancelled_total` | counter | `function` |
/// | `reducer_refused_total` | counter | `function` |
/// | `reducer_in_flight` | gauge | `function` |
/// | `reducer_flight_seconds` | histogram | `function` |
/// | `reducer_flight_followers` | histogram | `function` |
///
/// Keys are never labels: there are too many of them, and they are users' data.
#[derive(Clone, Copy, Debug, Default)]
pub struct MetricsHooks(());

impl MetricsHooks {
    /// The hooks. All of them tell the one recorder of the process.
    #[must_use]
    pub fn new() -> Self {
        ::metrics::describe_counter!("reducer_calls_total", "Calls, by function and role.");
        ::metrics::describe_counter!("reducer_errors_total", "Flights that failed, by kind.");
        ::metrics::describe_counter!("reducer_cancelled_total", "Flights dropped by all callers.");
        ::metrics::describe_counter!("reducer_refused_total", "Calls that a full flight refused.");
        ::metrics::describe_gauge!("reducer_in_flight", "Flights in the air.");
        ::metrics::describe_histogram!(
            "reducer_flight_seconds",
            ::metrics::Unit::Seconds,
            "How long flights take."
        );
        ::metrics::describe_histogram!(
            "reducer_flight_followers",
            "How many calls joined a flight."
        );
        Self(())
    }

    fn landed(call: &Call<'_>) {
        let function = call.function();
        gauge!("reducer_in_flight", "function" => function).decrement(1.0);
        histogram!("reducer_flight_seconds", "function" => function)
            .record(call.elapsed().as_secs_f64());
        histogram!("reducer_flight_followers", "function" => function)
            .record(call.followers() as f64);
    }
}

impl Hooks for MetricsHooks {
    fn on_apply(&self, call: &Call<'_>) {
        let role = match call.role() {
            Role::Led => "leader",
            Role::Joined => "follower",
        };
        counter!("reducer_calls_total", "function" => call.function(), "role" => role).increment(1);
    }

    fn on_executing(&self, call: &Call<'_>) {
        gauge!("reducer_in_flight", "function" => call.function()).increment(1.0);
    }

    fn on_result(&self, call: &Call<'_>) {
        Self::landed(call);
    }

    fn on_error(&self, call: &Call<'_>) {
        use crate::error::ReduceError;
        let kind = match call.error() {
            Some(ReduceError::Panicked(_)) => "panic",
            Some(ReduceError::TimedOut(_)) => "timeout",
            _ => "error",
        };
        counter!("reducer_errors_total", "function" => call.function(), "kind" => kind)
            .increment(1);
        Self::landed(call);
    }

    fn on_cancelled(&self, call: &Call<'_>) {
        counter!("reducer_cancelled_total", "function" => call.function()).increment(1);
        Self::landed(call);
    }

    fn on_refused(&self, call: &Call<'_>) {
        counter!("reducer_refused_total", "function" => call.function()).increment(1);
    }
}
