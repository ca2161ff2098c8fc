use reducer_core::reduceable;

#[reduceable]
async fn f(path: &str) -> std::io::Result<String> {
    std::fs::read_to_string(path)
}

fn main() {}
