use reducer_core::reduceable;

struct S;

impl S {
    #[reduceable]
    async fn f(&mut self) -> u8 {
        1
    }
}

fn main() {}
