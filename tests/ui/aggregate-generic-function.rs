use reducer_core::aggregate;

#[aggregate]
async fn echo<T: Send + 'static>(items: Vec<T>) -> Vec<T> {
    items
}

fn main() {}
