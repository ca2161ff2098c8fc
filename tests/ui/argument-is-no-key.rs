use reducer_core::reduceable;

struct Opts;

#[reduceable]
async fn f(opts: Opts) -> u8 {
    let _ = opts;
    1
}

fn main() {}
