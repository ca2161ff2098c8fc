use reducer_core::reduceable;

#[reduceable]
async fn f(s: &[&str]) -> usize {
    s.len()
}

fn main() {}
