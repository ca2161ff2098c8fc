//! What a reducer does, line by line and counted: the example of Python's `async-reduce`, in Rust.
//!
//!     cargo run --example hooks

use std::time::Duration;

use reducer_core::{
    DebugHooks, Reducer, StatisticsDetailHooks, StatisticsOverallHooks, reduceable,
};

struct Clock {
    reducer: Reducer,
}

impl Clock {
    #[reduceable(reducer = self.reducer, skip(self))]
    async fn tick(&self, hundredths: u64) -> u64 {
        tokio::time::sleep(Duration::from_millis(10 * hundredths)).await;
        hundredths
    }
}

impl Clone for Clock {
    fn clone(&self) -> Self {
        Self { reducer: self.reducer.clone() }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let (overall, detail) = (StatisticsOverallHooks::new(), StatisticsDetailHooks::new());
    let reducer = Reducer::builder()
        .hooks(DebugHooks::new())
        .hooks(overall.clone())
        .hooks(detail.clone())
        .build();
    let clock = Clock { reducer };

    // Five calls at once, for three different ticks.
    let ticks =
        tokio::join!(clock.tick(1), clock.tick(2), clock.tick(1), clock.tick(3), clock.tick(2));
    assert_eq!(ticks, (1, 2, 1, 3, 2));

    println!("--- Overall stats ---\n{overall}");
    println!("--- Detail stats ---\n{detail}");
    assert_eq!(overall.to_string(), "Stats(total=5, executed=3, reduced=2, errors=0)");
}
