use reducer_core::reduceable;

#[reduceable]
async fn f<T: Clone + std::hash::Hash + Eq + Send + Sync>(id: T) -> u8 {
    let _ = id;
    1
}

fn main() {}
