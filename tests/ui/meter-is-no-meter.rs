use reducer_core::reduceable;

#[reduceable(meter = 5)]
async fn f(id: u8) -> u8 {
    id
}

fn main() {}
