use reducer_core::reduceable;

type Outcome = Option<u8>;

#[reduceable(timeout = "2s")]
async fn f(id: u8) -> Outcome {
    Some(id)
}

fn main() {}
