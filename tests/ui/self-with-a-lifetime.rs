use reducer_core::reduceable;

#[derive(Clone, PartialEq, Eq, Hash)]
struct View<'a>(&'a u8);

impl<'a> View<'a> {
    #[reduceable]
    async fn f(&self) -> u8 {
        *self.0
    }
}

fn main() {}
