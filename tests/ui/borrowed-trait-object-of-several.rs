use reducer_core::reduceable;

#[reduceable]
async fn f(s: &(dyn std::fmt::Debug + Send + Sync)) -> String {
    format!("{s:?}")
}

fn main() {}
