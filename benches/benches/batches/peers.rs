//! What else batches.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::Arc;

use benches::Contest;
use tokio::runtime::Runtime;

use crate::{BATCH, LEEWAY, Shape, double_all, loads};

struct Doubles;

impl async_graphql::dataloader::Loader<u64> for Doubles {
    type Value = u64;
    type Error = Infallible;

    async fn load(&self, keys: &[u64]) -> Result<HashMap<u64, u64>, Infallible> {
        Ok(keys.iter().copied().zip(double_all(keys)).collect())
    }
}

impl dataloader::BatchFn<u64, u64> for Doubles {
    async fn load(&mut self, keys: &[u64]) -> HashMap<u64, u64> {
        keys.iter().copied().zip(double_all(keys)).collect()
    }
}

impl ultra_batch::Executor for Doubles {
    type Value = u64;
    type Result = u64;
    type Error = Infallible;

    async fn execute(&self, keys: Vec<u64>) -> Result<Vec<u64>, Infallible> {
        Ok(double_all(&keys).collect())
    }
}

#[derive(Clone, Debug)]
struct Processor;

impl batch_aint_one::Processor for Processor {
    type Key = ();
    type Input = u64;
    type Output = u64;
    type Error = String;
    type Resources = ();

    async fn acquire_resources(&self, (): ()) -> Result<(), String> {
        Ok(())
    }

    async fn process(
        &self,
        (): (),
        keys: impl Iterator<Item = u64> + Send,
        (): (),
    ) -> Result<Vec<u64>, String> {
        Ok(keys.map(|key| key * 2).collect())
    }
}

/// They take part too. Inside of a runtime.
pub(crate) fn enter(contest: Contest, runtime: &Arc<Runtime>, shape: Shape, count: u64) -> Contest {
    let graphql = Arc::new(
        async_graphql::dataloader::DataLoader::new(Doubles, tokio::spawn)
            .delay(LEEWAY)
            .max_batch_size(BATCH),
    );
    let loader = dataloader::non_cached::Loader::new(Doubles).with_max_batch_size(BATCH);
    let executor = Arc::new(
        ultra_batch::BatchExecutor::build(Doubles)
            .delay_duration(LEEWAY)
            .eager_batch_size(Some(BATCH))
            .finish(),
    );
    let batcher = batch_aint_one::Batcher::builder()
        .name("doubles")
        .processor(Processor)
        .limits(
            batch_aint_one::Limits::builder()
                .max_batch_size(BATCH)
                .max_key_concurrency(1_000)
                .max_key_queued_items(1_000_000)
                .max_items_awaiting_worker(1_000_000)
                .build(),
        )
        .batching_policy(batch_aint_one::BatchingPolicy::Duration(
            LEEWAY,
            batch_aint_one::OnFull::Process,
        ))
        .build();
    contest
        .with(
            "async-graphql's DataLoader",
            loads(runtime, shape, count, move |key| {
                let graphql = Arc::clone(&graphql);
                async move { graphql.load_one(key).await.expect("it cannot fail").unwrap_or(0) }
            }),
        )
        .with(
            "dataloader, not cached",
            loads(runtime, shape, count, move |key| {
                let loader = loader.clone();
                async move { loader.load(key).await }
            }),
        )
        .with(
            "ultra-batch's BatchExecutor",
            loads(runtime, shape, count, move |key| {
                let executor = Arc::clone(&executor);
                async move { executor.execute(key).await.expect("it cannot fail").unwrap_or(0) }
            }),
        )
        .with(
            "batch-aint-one",
            loads(runtime, shape, count, move |key| {
                let batcher = batcher.clone();
                async move { batcher.add((), key).await.expect("it cannot fail") }
            }),
        )
}
