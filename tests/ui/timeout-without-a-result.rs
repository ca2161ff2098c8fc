use reducer_core::reduceable;

#[reduceable(timeout = "2s")]
async fn f(id: u8) -> u8 {
    id
}

fn main() {}
