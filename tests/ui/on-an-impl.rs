use reducer_core::reduceable;

struct S;

#[reduceable]
impl S {
    fn f() {}
}

fn main() {}
