use reducer_core::reduceable;

#[reduceable]
fn f(s: u8) -> impl Future<Output = u8> {
    async move { s }
}

fn main() {}
