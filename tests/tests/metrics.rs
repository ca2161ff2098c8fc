//! Feature `metrics`: what is told to the facade.

use std::collections::HashMap;

use metrics_util::debugging::{DebugValue, DebuggingRecorder};
use reducer_core::{MetricsHooks, Reducer};
use reducer_tests::{ByHand, Gate, panics};

async fn query(gate: Gate) -> Result<u32, String> {
    gate.pass().await;
    Ok(7)
}

#[test]
fn every_call_and_every_flight_is_in_the_metrics() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    metrics::with_local_recorder(&recorder, || {
        let reducer = Reducer::builder().max_followers(2).hooks(MetricsHooks::new()).build();
        let gate = Gate::new();
        let mut calls: Vec<_> =
            (0..4).map(|_| ByHand::new(reducer.try_reduce(1, query(gate.clone())))).collect();
        calls[..3].iter_mut().for_each(|call| {
            call.pending();
        });
        assert!(calls[3].ready().is_err());
        gate.open();
        calls[..3].iter_mut().for_each(|call| {
            call.ready().unwrap();
        });
        let mut fails = ByHand::new(reducer.reduce(1, async { Err::<(), _>("no") }));
        fails.ready().unwrap_err();
        panics(|| ByHand::new(reducer.reduce(1, async { panic!("no") })).poll());
        let mut left = ByHand::new(reducer.reduce(1, query(Gate::new())));
        left.pending();
        drop(left);
        let mut flying = Box::new(ByHand::new(reducer.reduce(1, query(Gate::new()))));
        flying.pending();
        std::mem::forget(flying);
    });
    let mut sums = HashMap::<_, f64>::new();
    for (key, _, _, value) in snapshotter.snapshot().into_vec() {
        let key = key.key();
        let labels: Vec<_> = key
            .labels()
            .filter(|label| label.key() != "function")
            .map(|label| label.value().to_owned())
            .collect();
        assert!(key.labels().any(|label| label.key() == "function"), "{key}");
        let value = match value {
            DebugValue::Counter(count) => count as f64,
            DebugValue::Gauge(value) => value.0,
            DebugValue::Histogram(values) if key.name() == "reducer_flight_followers" => {
                values.iter().map(|value| value.0).sum()
            }
            DebugValue::Histogram(values) => values.len() as f64,
        };
        *sums.entry(format!("{} {}", key.name(), labels.join(" "))).or_default() += value;
    }
    let of = |name: &str| sums.get(name).copied().unwrap_or_default();
    assert_eq!(of("reducer_calls_total leader"), 5.0);
    assert_eq!(of("reducer_calls_total follower"), 2.0);
    assert_eq!(of("reducer_errors_total error"), 1.0);
    assert_eq!(of("reducer_errors_total panic"), 1.0);
    assert_eq!(of("reducer_cancelled_total "), 1.0);
    assert_eq!(of("reducer_refused_total "), 1.0);
    assert_eq!(of("reducer_in_flight "), 1.0);
    assert_eq!(of("reducer_flight_followers "), 2.0);
    assert_eq!(of("reducer_flight_seconds "), 4.0);
}
