use reducer_core::reduceable;

struct NotClone;

#[reduceable]
async fn f(id: u8) -> Result<NotClone, String> {
    let _ = id;
    Ok(NotClone)
}

fn main() {}
