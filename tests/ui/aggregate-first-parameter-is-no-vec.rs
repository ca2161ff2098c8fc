use reducer_core::aggregate;

#[aggregate(leeway = "10ms")]
async fn user(id: u64) -> Vec<u64> {
    vec![id]
}

fn main() {}
