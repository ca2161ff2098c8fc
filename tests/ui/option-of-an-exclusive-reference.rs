use reducer_core::reduceable;

#[reduceable]
async fn f(s: Option<&mut u8>) -> u8 {
    *s.unwrap()
}

fn main() {}
