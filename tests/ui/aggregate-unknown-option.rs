use reducer_core::aggregate;

#[aggregate(max_size = 5)]
async fn user(ids: Vec<u64>) -> Vec<u64> {
    ids
}

fn main() {}
