use reducer_core::reduceable;

#[reduceable]
async unsafe fn f() -> u8 {
    1
}

fn caller() {
    let _ = unsafe { f() };
}

fn main() {}
