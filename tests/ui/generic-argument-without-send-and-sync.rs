use reducer_core::reduceable;

#[reduceable]
async fn f<T: std::hash::Hash + Eq + Clone + 'static>(t: T) -> u8 {
    let _ = t;
    1
}

fn main() {}
