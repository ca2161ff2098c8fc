use reducer_core::reduceable;

#[reduceable(skip((a, b)))]
async fn f((a, b): (u8, u8)) -> u8 {
    a + b
}

fn main() {}
