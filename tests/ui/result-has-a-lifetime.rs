use reducer_core::reduceable;

#[reduceable]
async fn f(s: &str) -> std::borrow::Cow<'_, str> {
    s.into()
}

fn main() {}
