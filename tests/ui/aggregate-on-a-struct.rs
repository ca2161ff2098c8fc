use reducer_core::aggregate;

#[aggregate]
struct S;

fn main() {}
