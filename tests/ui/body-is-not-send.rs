use reducer_core::reduceable;

#[reduceable]
async fn f(id: u8) -> String {
    let rc = std::rc::Rc::new(1);
    std::future::ready(()).await;
    format!("{id}{rc}")
}

fn main() {}
