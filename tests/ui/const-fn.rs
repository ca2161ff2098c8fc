use reducer_core::reduceable;

#[reduceable]
const fn f() -> u8 {
    1
}

fn caller() {
    f();
}

fn main() {}
