use reducer_core::reduceable;

#[reduceable(key = id, key = id)]
async fn f(id: u8) -> u8 {
    id
}

fn main() {}
