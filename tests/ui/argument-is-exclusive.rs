use reducer_core::reduceable;

#[reduceable]
async fn f(x: &mut u8) -> u8 {
    *x
}

fn main() {}
