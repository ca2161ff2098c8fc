use reducer_core::reduceable;

#[reduceable(key = nmae)]
async fn f(name: String) -> String {
    name
}

fn main() {}
