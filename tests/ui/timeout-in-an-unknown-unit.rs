use reducer_core::{SharedError, reduceable};

#[reduceable(timeout = "2 parsecs")]
async fn f(id: u8) -> Result<u8, SharedError> {
    Ok(id)
}

fn main() {}
