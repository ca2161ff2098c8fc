use reducer_core::{SharedError, reduceable};

#[reduceable(timeout = "0s")]
async fn f(id: u8) -> Result<u8, SharedError> {
    Ok(id)
}

fn main() {}
