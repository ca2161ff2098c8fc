use reducer_core::reduceable;

#[reduceable]
async fn f(name: Missing) -> u8 {
    1
}

fn main() {}
