use reducer_core::aggregate;

#[aggregate]
async fn insert(rows: Vec<u64>) -> usize {
    rows.len()
}

fn main() {}
