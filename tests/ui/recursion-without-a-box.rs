use reducer_core::reduceable;

#[reduceable]
async fn f(n: u64) -> u64 {
    if n == 0 { 0 } else { Box::pin(f(n - 1)).await }
}

fn main() {}
