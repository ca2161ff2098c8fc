use reducer_core::reduceable;

#[reduceable(key = Some(name))]
async fn f(name: String) -> String {
    name
}

fn main() {}
