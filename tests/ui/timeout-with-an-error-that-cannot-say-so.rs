use reducer_core::reduceable;

#[derive(Clone)]
struct NotFound;

#[reduceable(timeout = "2s")]
async fn f(id: u8) -> Result<u8, NotFound> {
    Ok(id)
}

fn main() {}
