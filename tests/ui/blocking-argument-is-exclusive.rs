use reducer_core::reduceable;

#[reduceable]
fn f(x: &mut u8) -> u8 {
    *x
}

fn main() {}
