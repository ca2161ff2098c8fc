use reducer_core::reduceable;

#[reduceable]
async fn f(id: u8) -> String {
    id
}

fn main() {}
