use reducer_core::reduceable;

#[reduceable]
async fn f(s: &str) -> Option<&str> {
    Some(s)
}

fn main() {}
