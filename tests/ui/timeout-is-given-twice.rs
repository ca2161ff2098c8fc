use reducer_core::{SharedError, reduceable};

#[reduceable(timeout = "1s", timeout = "2s")]
async fn f(id: u8) -> Result<u8, SharedError> {
    Ok(id)
}

fn main() {}
