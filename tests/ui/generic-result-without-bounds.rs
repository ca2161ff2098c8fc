use reducer_core::reduceable;

#[reduceable]
async fn f<T: Default + 'static>() -> T {
    T::default()
}

fn main() {}
