use reducer_core::aggregate;

#[aggregate]
async fn users() -> Vec<u64> {
    Vec::new()
}

fn main() {}
