use reducer_core::reduceable;

#[derive(Clone)]
struct Client;

#[reduceable]
async fn f(client: &Client) -> u8 {
    let _ = client;
    1
}

fn main() {}
