use reducer_core::reduceable;

#[reduceable]
async fn f(s: (u8, &str)) -> u8 {
    s.0
}

fn main() {}
