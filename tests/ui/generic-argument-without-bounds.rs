use reducer_core::reduceable;

#[reduceable]
async fn f<T: Send + Sync + 'static>(t: T) -> u8 {
    let _ = t;
    1
}

fn main() {}
