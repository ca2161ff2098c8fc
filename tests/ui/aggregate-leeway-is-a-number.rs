use reducer_core::aggregate;

#[aggregate(leeway = 10)]
async fn user(ids: Vec<u64>) -> Vec<u64> {
    ids
}

fn main() {}
