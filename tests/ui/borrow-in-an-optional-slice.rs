use reducer_core::reduceable;

#[reduceable]
async fn f(s: Option<&[&str]>) -> usize {
    s.map_or(0, <[_]>::len)
}

fn main() {}
