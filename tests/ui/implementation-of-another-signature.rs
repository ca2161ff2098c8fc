use reducer_core::reduceable;

trait T {
    fn f(&self, x: u8) -> u8;
}

struct S;

impl T for S {
    #[reduceable(skip(self))]
    fn f(&self) -> u8 {
        1
    }
}

fn main() {}
