use reducer_core::reduceable;

#[reduceable]
async fn f(s: u8) -> impl Iterator<Item = u8> {
    0..s
}

fn main() {}
