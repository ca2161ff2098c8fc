//! `#[reduceable]` on plain functions: threads share, and nothing is copied for the body.
#![deny(warnings)]

use std::num::ParseIntError;
use std::sync::Arc;
use std::thread;

use reducer_core::{Reducer, reduceable};
use reducer_tests::{count_run, panics, runs};

/// Holds the leader until so many threads wait on `key`.
fn until_callers<K: std::hash::Hash + Eq + Send + Sync + 'static>(key: &K, callers: usize) {
    while Reducer::global().callers(key) < callers {
        thread::yield_now();
    }
}

// Row 16.
struct NotClone(u32);

#[reduceable(skip(n, more))]
fn render(
    page: u32,
    text: &str,
    n: &NotClone,
    more: &dyn Fn() -> u32,
    (a, mut b): (u8, u8),
) -> Result<u32, ParseIntError> {
    count_run("render");
    until_callers(&(page, text.to_owned(), (a, b)), 4);
    b += 1;
    if page == 7 {
        return Ok(0);
    }
    let text: u32 = text.parse()?;
    Ok(text + page + n.0 + more() + u32::from(a + b))
}

#[test]
fn threads_share_one_run_and_the_body_borrows_its_arguments() {
    let call = |page, text: &'static str| {
        let outcomes: Vec<_> = thread::scope(|scope| {
            let call = || render(page, text, &NotClone(1), &|| 1, (1, 1));
            let callers: Vec<_> = (0..4).map(|_| scope.spawn(call)).collect();
            callers.into_iter().map(|caller| caller.join().unwrap()).collect()
        });
        assert!(outcomes.iter().all(|outcome| *outcome == outcomes[0]));
        outcomes[0].clone()
    };
    assert_eq!((call(1, "2"), runs("render")), (Ok(8), 1));
    assert_eq!((call(7, "2"), runs("render")), (Ok(0), 2), "return");
    assert!(call(1, "no number").is_err(), "?");
    assert_eq!(runs("render"), 3);
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Page(u8);

impl Page {
    #[reduceable]
    fn by_ref(&self, suffix: String) -> String {
        count_run("by_ref");
        format!("{self:?}{}{suffix}", self.0)
    }

    #[reduceable]
    fn by_mut_value(mut self) -> u8 {
        count_run("by_mut_value");
        self.0 += 1;
        self.0
    }

    #[reduceable(key = self.0)]
    fn keyed(&self, suffix: String) -> usize {
        count_run("keyed");
        usize::from(self.0) + suffix.len()
    }
}

#[test]
fn methods_are_functions_like_any() {
    assert_eq!(Page(1).by_ref("x".into()), "Page(1)1x");
    assert_eq!(Page(1).by_mut_value(), 2);
    assert_eq!(Page(1).keyed("x".into()), 2);
    assert_eq!((runs("by_ref"), runs("by_mut_value"), runs("keyed")), (1, 1, 1));
}

#[derive(Clone)]
struct Renderer {
    reducer: Reducer,
    scale: u32,
}

impl Renderer {
    #[reduceable(reducer = self.reducer)]
    fn own_reducer(&self, page: u32) -> u32 {
        count_run("own_reducer");
        while self.reducer.callers(&page) < 2 {
            thread::yield_now();
        }
        page * self.scale
    }

    #[reduceable(reducer = self.reducer)]
    fn own_reducer_by_value(self, page: u32) -> u32 {
        count_run("own_reducer_by_value");
        page * self.scale
    }
}

#[test]
fn instances_with_reducers_of_their_own_do_not_share() {
    let one = Renderer { reducer: Reducer::new(), scale: 1 };
    let two = Renderer { reducer: Reducer::new(), scale: 2 };
    thread::scope(|scope| {
        for renderer in [&one, &two] {
            for _ in 0..2 {
                scope.spawn(|| assert_eq!(renderer.own_reducer(3), 3 * renderer.scale));
            }
        }
    });
    assert_eq!(runs("own_reducer"), 2);
    assert_eq!((two.own_reducer_by_value(3), runs("own_reducer_by_value")), (6, 1));
}

#[test]
fn a_panic_is_everybodys_and_the_next_call_starts_afresh() {
    #[reduceable]
    fn fragile(id: &str) -> u8 {
        count_run("fragile");
        until_callers(&id.to_owned(), 3);
        panic!("no disk")
    }
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| assert_eq!(panics(|| fragile("a disk")), "no disk"));
        }
    });
    assert_eq!(runs("fragile"), 1);
    assert!(!Reducer::global().is_in_flight(&"a disk".to_owned()));
}

// Row 23.
#[reduceable]
fn factorial(n: u64) -> u64 {
    count_run("factorial");
    if n == 0 { 1 } else { n * factorial(n - 1) }
}

#[test]
fn a_function_may_call_itself_with_other_arguments() {
    assert_eq!((factorial(4), runs("factorial")), (24, 5));
}

#[test]
fn a_function_that_waits_on_itself_is_told_so() {
    #[reduceable]
    fn endless(n: u64) -> u64 {
        count_run("endless");
        endless(n)
    }
    let message = panics(|| endless(1));
    assert!(message.contains("reduceable_blocking::"), "{message}");
    assert!(message.contains("endless"), "{message}");
    assert_eq!(runs("endless"), 1);
}

#[test]
fn arguments_that_are_not_in_the_key_may_borrow_whatever_they_like() {
    #[reduceable(key = rows.len())]
    fn longest(rows: &[&str]) -> usize {
        count_run("longest");
        rows.iter().map(|row| row.len()).max().unwrap_or(0)
    }
    let row = String::from("abc");
    assert_eq!((longest(&["a", &row]), runs("longest")), (3, 1));
}

#[test]
fn the_outcome_may_be_an_unsized_arc() {
    #[reduceable]
    fn image(page: u32) -> Arc<[u8]> {
        count_run("image");
        Arc::new([page as u8; 4])
    }
    assert_eq!((&image(3)[..], runs("image")), (&[3; 4][..], 1));
}
