use reducer_core::reduceable;

trait Store {
    fn get(&self) -> u8;
}

#[reduceable(skip(store))]
async fn f(store: &dyn Store) -> u8 {
    store.get()
}

fn main() {}
