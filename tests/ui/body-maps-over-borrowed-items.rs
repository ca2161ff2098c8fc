use futures_util::StreamExt;
use reducer_core::reduceable;

#[reduceable]
async fn one(id: u64) -> u64 {
    id
}

#[reduceable]
async fn all(ids: Vec<u64>) -> Vec<u64> {
    futures_util::stream::iter(&ids).map(|id| one(*id)).buffer_unordered(8).collect().await
}

fn main() {}
