//! `#[aggregate]`: what may be written, and what callers get. tokio's clock, paused.
#![deny(warnings)]

use std::collections::{BTreeMap, HashMap};
use std::hash::RandomState;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reducer_core::{AggregateError, Aggregated, Aggregator, Slot, aggregate, reduceable};
use reducer_tests::{begin, count_run, runs};
use tokio::time::Instant;

/// Doubles.
#[aggregate(leeway = "10ms", max_count = 100)]
pub async fn double(ids: Vec<u64>) -> Vec<u64> {
    count_run("double");
    ids.into_iter().map(|id| 2 * id).collect()
}

#[tokio::test(start_paused = true)]
async fn calls_of_one_are_a_run_of_many() {
    let start = Instant::now();
    let call: fn(u64) -> _ = double;
    assert_eq!(tokio::join!(call(1), call(2), call(3)), (2, 4, 6));
    assert_eq!((runs("double"), start.elapsed()), (1, Duration::from_millis(10)));
}

#[aggregate(leeway = Duration::from_millis(5), max_count = 2 + 1)]
async fn by_expression(mut ids: Vec<u64>) -> Result<Vec<u64>, String> {
    count_run("by_expression");
    if ids.contains(&0) {
        return Err("zero".to_string());
    }
    ids.iter_mut().for_each(|id| *id += 1);
    Ok(ids)
}

#[tokio::test(start_paused = true)]
async fn a_result_is_the_callers_result() {
    let (a, b, c) = tokio::join!(by_expression(1), by_expression(2), by_expression(3));
    assert_eq!((a.unwrap(), b.unwrap(), c.unwrap()), (2, 3, 4));
    let answer: Result<u64, AggregateError<String>> = by_expression(0).await;
    let Err(AggregateError::Batch(error)) = answer else { panic!("{answer:?}") };
    assert_eq!((error.as_str(), runs("by_expression")), ("zero", 2));
}

#[aggregate]
async fn found(ids: Vec<u64>) -> HashMap<u64, String, RandomState> {
    ids.into_iter().filter(|id| *id != 4).map(|id| (id, id.to_string())).collect()
}

#[aggregate]
async fn found_or_failed(ids: Vec<u64>) -> Result<HashMap<u64, String>, std::io::Error> {
    Ok(found_all(&ids))
}

fn found_all(ids: &[u64]) -> HashMap<u64, String> {
    ids.iter().filter(|id| **id != 4).map(|id| (*id, id.to_string())).collect()
}

type Answers = Result<Vec<Result<u64, String>>, std::io::Error>;

#[aggregate]
async fn one_by_one(ids: Vec<u64>) -> Answers {
    Ok(ids.into_iter().map(|id| if id == 4 { Err("four".into()) } else { Ok(id) }).collect())
}

#[tokio::test(start_paused = true)]
async fn maps_aliases_and_results_of_each() {
    assert_eq!(tokio::join!(found(3), found(4)), (Some("3".into()), None));
    let (a, b) = tokio::join!(found_or_failed(3), found_or_failed(4));
    assert_eq!((a.unwrap(), b.unwrap()), (Some("3".into()), None));
    let (a, b) = tokio::join!(one_by_one(3), one_by_one(4));
    assert_eq!((a.unwrap(), b.unwrap()), (Ok(3), Err("four".into())));
}

#[aggregate(max_count = 2)]
async fn first_only(slots: Vec<Slot<u64, String>>) {
    count_run("first_only");
    slots[0].set(slots[0].value().to_string());
}

#[aggregate(max_count = 2)]
async fn first_then_error(slots: Vec<Slot<u64, u64>>) -> Result<(), String> {
    slots[0].set(*slots[0].value());
    Err("late".to_string())
}

#[tokio::test(start_paused = true)]
async fn slots_are_the_low_level_and_filled_ones_stand() {
    let (a, b) = tokio::join!(first_only(1), first_only(2));
    assert_eq!(a.unwrap(), "1");
    assert!(matches!(b, Err(AggregateError::NotSet)), "{b:?}");
    let (a, b) = tokio::join!(first_then_error(1), first_then_error(2));
    assert_eq!(a.unwrap(), 1);
    let Err(AggregateError::Batch(error)) = b else { panic!("{b:?}") };
    assert_eq!((error.as_str(), runs("first_only")), ("late", 1));
}

#[aggregate]
async fn too_short(ids: Vec<u64>) -> Vec<u64> {
    ids.into_iter().skip(1).collect()
}

#[aggregate]
async fn panics(ids: Vec<u64>) -> Vec<u64> {
    assert!(ids.is_empty(), "not today");
    ids
}

#[tokio::test(start_paused = true)]
async fn without_a_result_a_broken_contract_is_a_panic_in_the_caller() {
    let said =
        reducer_tests::panic_message(tokio::spawn(too_short(1)).await.unwrap_err().into_panic());
    assert!(said.contains("asked for 1 answers and gave 0"), "{said}");
    let said =
        reducer_tests::panic_message(tokio::spawn(panics(1)).await.unwrap_err().into_panic());
    assert_eq!(said, "not today");
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Table {
    Red,
    Blue,
}

#[aggregate(leeway = "5ms", max_count = 500)]
async fn insert(
    rows: Vec<String>,
    #[group] table: Table,
    #[group] (year, _month): (u16, u8),
) -> Result<Vec<String>, String> {
    count_run("insert");
    Ok(rows.iter().map(|row| format!("{row}/{}/{table:?}/{year}", rows.len())).collect())
}

#[tokio::test(start_paused = true)]
async fn equal_groups_share_a_batch() {
    let call = |row: &str, table, month| insert(row.to_string(), table, (2026, month));
    let (a, b, c, d) = tokio::join!(
        call("a", Table::Red, 1),
        call("b", Table::Blue, 1),
        call("c", Table::Red, 1),
        call("d", Table::Red, 2),
    );
    let all = [a, b, c, d].map(Result::unwrap);
    assert_eq!(all, ["a/2/Red/2026", "b/1/Blue/2026", "c/2/Red/2026", "d/1/Red/2026"]);
    assert_eq!(runs("insert"), 3);
}

#[derive(Clone, Default)]
struct Repository {
    name: &'static str,
    users: Aggregated<u64, String>,
    rows: Aggregated<u64, Option<u64>, String, u8>,
    log: Arc<Mutex<BTreeMap<u64, usize>>>,
}

impl Repository {
    #[aggregate(leeway = "5ms", in = self.users)]
    async fn user(&self, ids: Vec<u64>) -> Vec<String> {
        for id in &ids {
            *self.log.lock().unwrap().entry(*id).or_default() += 1;
        }
        begin(self.name).await;
        ids.iter().map(|id| format!("{id} of {}", self.name)).collect()
    }

    #[aggregate(leeway = "5ms", in = self.users)]
    async fn other(&self, ids: Vec<u64>) -> Vec<String> {
        ids.iter().map(|id| format!("other {id} of {}", self.name)).collect()
    }

    #[aggregate(in = self.users)]
    async fn shared(self: Arc<Self>, ids: Vec<u64>) -> Vec<String> {
        ids.iter().map(|id| format!("{id} behind {}", self.name)).collect()
    }

    #[aggregate(in = self.rows)]
    async fn row(
        self: &Arc<Self>,
        ids: Vec<u64>,
        #[group] factor: u8,
    ) -> Result<HashMap<u64, u64>, String> {
        Ok(ids.into_iter().map(|id| (id, id * u64::from(factor))).collect())
    }

    #[reduceable(reducer = reducer_core::Reducer::global(), key = ids)]
    #[aggregate(leeway = "5ms", in = self.users)]
    async fn once(&self, ids: Vec<u64>) -> Vec<String> {
        begin("once").await;
        ids.iter().map(|id| format!("{id}/{} once", ids.len())).collect()
    }
}

#[tokio::test(start_paused = true)]
async fn instances_and_methods_never_share_a_batch() {
    let red = Repository { name: "red", ..Repository::default() };
    let (twin, blue) = (red.clone(), Repository { name: "blue", ..Repository::default() });
    let (a, b, c, d) = tokio::join!(red.user(1), twin.user(2), blue.user(3), red.other(4));
    assert_eq!([a, b, c, d], ["1 of red", "2 of red", "3 of blue", "other 4 of red"]);
    assert_eq!((runs("red"), runs("blue")), (1, 1));
    assert_eq!((red.users.stats().batches, blue.users.stats().batches), (2, 1));
    assert_eq!(red.log.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn every_form_of_self_is_one_that_can_be_kept() {
    let red = Arc::new(Repository { name: "red", ..Repository::default() });
    assert_eq!(Arc::clone(&red).shared(1).await, "1 behind red");
    let (a, b) = tokio::join!(red.row(7, 2), red.row(8, 3));
    assert_eq!((a.unwrap(), b.unwrap()), (Some(14), Some(24)));
}

#[reduceable]
#[aggregate(leeway = "5ms")]
async fn loaded(ids: Vec<u64>) -> Vec<String> {
    begin("loaded").await;
    ids.iter().map(|id| format!("{id}/{}", ids.len())).collect()
}

#[aggregate(leeway = "5ms")]
#[reduceable]
async fn loaded_below(ids: Vec<u64>) -> Vec<String> {
    begin("loaded_below").await;
    ids.iter().map(|id| format!("{id}/{}", ids.len())).collect()
}

#[tokio::test(start_paused = true)]
async fn under_reduceable_equal_calls_share_and_different_ones_are_a_batch() {
    let (a, b, c) = tokio::join!(loaded(7), loaded(8), loaded(7));
    assert_eq!([a, b, c], ["7/2", "8/2", "7/2"]);
    // Nothing is kept.
    assert_eq!(loaded(7).await, "7/1");
    assert_eq!(runs("loaded"), 2);
    let (a, b, c) = tokio::join!(loaded_below(7), loaded_below(8), loaded_below(7));
    assert_eq!([a, b, c], ["7/2", "8/2", "7/2"]);
    assert_eq!(runs("loaded_below"), 1);
    let red = Repository::default();
    let (a, b, c) = tokio::join!(red.once(7), red.once(8), red.once(7));
    assert_eq!([a, b, c], ["7/2 once", "8/2 once", "7/2 once"]);
    assert_eq!(runs("once"), 1);
}

static BATCHES: std::sync::LazyLock<Aggregated<u64, u64>> =
    std::sync::LazyLock::new(Aggregated::new);

#[aggregate(in = *BATCHES, max_concurrent = 1, max_waiting = 10)]
async fn at_a_place(ids: Vec<u64>) -> Vec<u64> {
    ids
}

mod vendored {
    pub(crate) use reducer_core::*;
}

#[vendored::aggregate(crate = vendored)]
async fn elsewhere(ids: Vec<u64>) -> Vec<u64> {
    ids
}

#[tokio::test(start_paused = true)]
async fn the_place_is_any_expression_and_the_crate_may_be_elsewhere() {
    assert_eq!(at_a_place(3).await, 3);
    assert_eq!(BATCHES.stats().batches, 1);
    assert_eq!(elsewhere(4).await, 4);
}

fn assert_send<T: Send>(value: T) -> T {
    value
}

#[test]
fn the_futures_are_send_and_small() {
    let repository = Repository::default();
    let by_hand = Aggregator::builder().build(|ids: Vec<u64>| async move { ids });
    let sizes = [
        size_of_val(&assert_send(double(1))),
        size_of_val(&assert_send(repository.user(1))),
        size_of_val(&assert_send(by_hand.call(1))),
    ];
    assert!(sizes.iter().all(|size| *size <= 512), "{sizes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_error_that_is_shared_already_goes_on_as_it_is() {
    use reducer_core::SharedError;
    #[aggregate(leeway = "5ms")]
    async fn rows(id: Vec<u64>) -> Result<Vec<u64>, SharedError> {
        if id.contains(&0) { Err(std::io::Error::other("no disk"))? } else { Ok(id) }
    }
    async fn row(id: u64) -> Result<u64, SharedError> {
        Ok(rows(id).await?)
    }
    assert_eq!(row(1).await.unwrap(), 1);
    let error = row(0).await.unwrap_err();
    assert!(error.is::<std::io::Error>(), "{error}");
}

#[tokio::test(start_paused = true)]
async fn two_methods_of_one_field_have_limits_of_their_own() {
    #[derive(Clone, Default)]
    struct Shop {
        rows: Aggregated<u64, u64>,
    }
    impl Shop {
        #[aggregate(leeway = "5ms", max_concurrent = 1, in = self.rows)]
        async fn outer(&self, id: Vec<u64>) -> Vec<u64> {
            // Called from inside of a batch, while another of the same method queues.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let inner = self.inner(id[0]).await;
            id.into_iter().map(|id| id + inner).collect()
        }

        #[aggregate(leeway = "5ms", in = self.rows)]
        async fn inner(&self, id: Vec<u64>) -> Vec<u64> {
            id.into_iter().map(|id| 10 * id).collect()
        }
    }
    let shop = Shop::default();
    let later = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        shop.outer(2).await
    };
    assert_eq!(tokio::join!(shop.outer(1), later), (11, 22));
}
