use reducer_core::aggregate;

#[aggregate(leeway = "10ms", max_count = 0)]
async fn user(ids: Vec<u64>) -> Vec<u64> {
    ids
}

fn main() {}
