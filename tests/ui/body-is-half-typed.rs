use reducer_core::reduceable;

#[reduceable]
async fn f(name: String) -> usize {
    name.
}

fn main() {}
