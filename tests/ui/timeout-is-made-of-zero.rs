use reducer_core::{SharedError, reduceable};

#[reduceable(timeout = std::time::Duration::from_secs(0))]
async fn f(id: u8) -> Result<u8, SharedError> {
    Ok(id)
}

fn main() {}
