use reducer_core::reduceable;

struct Request {
    values: Vec<f64>,
}

#[reduceable(key = request.values)]
async fn f(request: Request) -> usize {
    request.values.len()
}

fn main() {}
