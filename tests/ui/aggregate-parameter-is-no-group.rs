use reducer_core::aggregate;

#[aggregate]
async fn insert(rows: Vec<u64>, #[group] table: u8, year: u16) -> Vec<u64> {
    let _ = (table, year);
    rows
}

fn main() {}
