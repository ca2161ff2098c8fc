use reducer_core::reduceable;

trait T {
    #[reduceable]
    async fn f();
}

fn main() {}
