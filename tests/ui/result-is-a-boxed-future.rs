use reducer_core::reduceable;

#[reduceable]
fn f(s: u8) -> std::pin::Pin<Box<dyn Future<Output = u8> + Send>> {
    let x = s;
    Box::pin(async move { x })
}

fn main() {}
