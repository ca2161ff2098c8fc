use std::cell::Cell;

use reducer_core::reduceable;

#[reduceable]
async fn counter(id: u64) -> Cell<u64> {
    Cell::new(id)
}

fn main() {}
