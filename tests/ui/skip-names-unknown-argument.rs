use reducer_core::reduceable;

#[reduceable(skip(clinet))]
async fn f(client: u8) -> u8 {
    client
}

fn main() {}
