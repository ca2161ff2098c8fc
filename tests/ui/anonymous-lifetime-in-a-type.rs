use reducer_core::reduceable;

struct View<'a>(&'a u8);

#[reduceable]
async fn f(s: View<'_>) -> u8 {
    *s.0
}

fn main() {}
