use reducer_core::reduceable;

#[derive(Clone, PartialEq)]
struct S;

impl S {
    #[reduceable]
    async fn f(self, id: u8) -> u8 {
        id
    }
}

fn main() {}
