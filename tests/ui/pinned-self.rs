use reducer_core::reduceable;

struct S;

impl S {
    #[reduceable]
    async fn f(self: std::pin::Pin<&mut Self>) -> u8 {
        1
    }
}

fn main() {}
