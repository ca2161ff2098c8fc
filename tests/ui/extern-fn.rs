use reducer_core::reduceable;

#[reduceable]
extern "C" fn f() -> u8 {
    1
}

fn caller() {
    f();
}

fn main() {}
