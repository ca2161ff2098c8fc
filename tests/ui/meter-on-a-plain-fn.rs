use std::sync::LazyLock;

use reducer_core::{Meter, reduceable};

static METER: LazyLock<Meter> = LazyLock::new(|| Meter::new().max_at_once(2));

#[reduceable(meter = METER)]
fn f(id: u8) -> u8 {
    id
}

fn main() {}
