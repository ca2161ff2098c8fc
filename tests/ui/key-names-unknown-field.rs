use reducer_core::reduceable;

struct Request {
    id: u8,
}

#[reduceable(key = request.di)]
async fn f(request: Request) -> u8 {
    request.id
}

fn main() {}
