use reducer_core::reduceable;

#[reduceable(meter = METER)]
async fn f(id: u8) -> u8 {
    id
}

fn main() {}
