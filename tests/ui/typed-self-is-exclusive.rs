use reducer_core::reduceable;

struct S;

impl S {
    #[reduceable]
    async fn f(self: &mut Self) -> u8 {
        1
    }
}

fn main() {}
