use reducer_core::aggregate;

#[aggregate]
async fn insert(rows: Vec<u64>, #[group] factor: f64) -> Vec<u64> {
    let _ = factor;
    rows
}

fn main() {}
