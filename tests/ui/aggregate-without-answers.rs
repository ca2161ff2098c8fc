use reducer_core::aggregate;

#[aggregate]
async fn insert(rows: Vec<u64>) {
    drop(rows);
}

fn main() {}
