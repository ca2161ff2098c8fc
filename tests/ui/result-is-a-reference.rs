use reducer_core::reduceable;

#[reduceable]
async fn f<'a>(s: &'a str) -> &'a str {
    s
}

fn main() {}
