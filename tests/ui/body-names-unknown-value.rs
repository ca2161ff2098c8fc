use reducer_core::reduceable;

#[reduceable]
async fn f(id: u8) -> u8 {
    undefined
}

fn main() {}
