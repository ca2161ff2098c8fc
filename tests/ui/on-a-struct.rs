use reducer_core::reduceable;

#[reduceable]
struct S;

fn main() {}
