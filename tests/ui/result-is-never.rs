use reducer_core::reduceable;

#[reduceable]
async fn f() -> ! {
    loop {}
}

fn main() {}
