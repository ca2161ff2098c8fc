use reducer_core::reduceable;

struct Client;

#[reduceable(skip(client))]
async fn f(client: &Client) -> u8 {
    let _ = client;
    1
}

fn main() {}
