use reducer_core::reduceable;

#[reduceable(timeout = "2s")]
async fn f(id: u8) {
    let _ = id;
}

fn main() {}
