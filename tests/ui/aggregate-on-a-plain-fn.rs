use reducer_core::aggregate;

#[aggregate]
fn user(ids: Vec<u64>) -> Vec<u64> {
    ids
}

fn main() {}
