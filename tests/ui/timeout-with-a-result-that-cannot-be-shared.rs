use reducer_core::{SharedError, reduceable};

struct NotClone;

#[reduceable(timeout = "2s")]
async fn f(id: u8) -> Result<NotClone, SharedError> {
    let _ = id;
    Ok(NotClone)
}

fn main() {}
