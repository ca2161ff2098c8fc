use reducer_core::reduceable;

#[reduceable]
async fn f(c: Vec<f64>) -> usize {
    c.len()
}

fn main() {}
