//! `#[reduceable]` and whatever a body may contain: it infers, returns, drops and names things as it did
//! in the plain function.
#![deny(warnings)]

use std::any::Any;
use std::error::Error;
use std::num::ParseIntError;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use reducer_core::reduceable;
use reducer_tests::{begin, count_run, panics, runs};
use tokio::join;

fn sendable<F: Future + Send>(future: F) -> F {
    future
}

// Row 17.
#[derive(Clone, Debug, PartialEq)]
struct NotANumber;

impl From<ParseIntError> for NotANumber {
    fn from(_: ParseIntError) -> Self {
        Self
    }
}

#[reduceable]
async fn question_mark(s: &str) -> Result<u32, NotANumber> {
    begin("question_mark").await;
    if s.is_empty() {
        return Ok(0);
    }
    Ok(s.parse::<u32>()?)
}

#[tokio::test(start_paused = true)]
async fn question_marks_convert_and_returns_return() {
    let (a, b, none, error) =
        join!(question_mark("3"), question_mark("3"), question_mark(""), question_mark("x"));
    assert_eq!([a, b, none, error], [Ok(3), Ok(3), Ok(0), Err(NotANumber)]);
    assert_eq!(runs("question_mark"), 3);
}

#[tokio::test(start_paused = true)]
async fn the_return_type_is_known_in_the_body() {
    #[reduceable]
    async fn any(n: u8) -> Arc<dyn Any + Send + Sync> {
        begin("any").await;
        Arc::new(n)
    }
    #[reduceable]
    async fn error(s: &str) -> Result<(), Arc<dyn Error + Send + Sync>> {
        begin("error").await;
        if s == "x" {
            return Err(Arc::new(std::fmt::Error));
        }
        Ok(())
    }
    #[reduceable]
    async fn collected(s: &str) -> Result<Vec<u32>, ParseIntError> {
        begin("collected").await;
        s.split(' ').map(str::parse).collect()
    }
    #[reduceable]
    async fn returned(n: u8) -> u8 {
        begin("returned").await;
        let v = {
            let m = n;
            m + 1
        };
        #[allow(clippy::needless_return, reason = "that is the test")]
        return v;
    }
    assert_eq!(join!(any(1), any(1)).1.downcast_ref(), Some(&1u8));
    assert!(join!(error("x"), error("x")).1.is_err());
    assert_eq!(join!(collected("1 2"), collected("1 2")).1, Ok(vec![1, 2]));
    assert_eq!(join!(returned(1), returned(1)), (2, 2));
    assert_eq!(["any", "error", "collected", "returned"].map(runs), [1, 1, 1, 1]);
}

#[reduceable]
async fn nothing() {}

#[reduceable]
async fn unit(n: u8) {
    begin("unit").await;
    let _ = n;
}

#[reduceable]
async fn not_yet(n: u8) -> u8 {
    count_run("not_yet");
    todo!("number {n}")
}

#[tokio::test(start_paused = true)]
async fn bodies_may_be_empty_or_never_come_to_an_end() {
    nothing().await;
    join!(unit(1), unit(1));
    assert_eq!(runs("unit"), 1);
    let mut call = reducer_tests::ByHand::new(not_yet(1));
    assert_eq!(panics(|| call.poll()), "not yet implemented: number 1");
    assert_eq!(runs("not_yet"), 1);
}

// Row 18.
/// Documented.
#[reduceable]
#[must_use]
#[inline]
pub(crate) async fn with_attributes(id: u8) -> u8 {
    begin("with_attributes").await;
    id
}

#[cfg_attr(all(), reduceable)]
async fn conditionally(id: u8) -> u8 {
    begin("conditionally").await;
    id
}

#[cfg(any())]
#[reduceable]
async fn conditionally(id: Missing) -> u8 {}

#[deprecated]
#[reduceable]
async fn old(id: u8) -> u8 {
    begin("old").await;
    id
}

#[tokio::test(start_paused = true)]
async fn functions_keep_their_attributes() {
    join!(with_attributes(1), with_attributes(1));
    join!(conditionally(1), conditionally(1));
    #[expect(deprecated, reason = "the test")]
    let _ = join!(old(1), old(1));
    assert_eq!(["with_attributes", "conditionally", "old"].map(runs), [1, 1, 1]);
}

#[test]
fn lints_fire_at_the_users_own_tokens() {
    // What an `#[expect]` waits for in vain is a warning, and denied here.
    #[expect(dead_code, reason = "the test")]
    #[reduceable]
    async fn dead(id: u8) -> u8 {
        id
    }
    #[allow(dead_code, reason = "here it is the arguments that are unused")]
    #[reduceable]
    async fn arguments(
        #[expect(unused_variables, reason = "the test")] unused: u8,
        #[expect(unused_mut, reason = "the test")] mut id: u8,
        #[expect(unused_variables, reason = "the test")] (a, b): (u8, u8),
    ) -> u8 {
        #[expect(unused_variables, reason = "the test")]
        let local = 1;
        id
    }
    #[allow(dead_code, reason = "here it is the arguments that are unused")]
    #[reduceable]
    fn blocking(
        #[expect(unused_variables, reason = "the test")] unused: u8,
        #[expect(unused_mut, reason = "the test")] mut id: u8,
    ) -> u8 {
        id
    }
    struct User;
    impl User {
        #[expect(dead_code, reason = "the test")]
        #[reduceable(skip(self))]
        async fn dead(self: Arc<Self>) -> u8 {
            1
        }
    }
    let _ = User;
}

// Row 19.
#[tracing::instrument(err, ret)]
#[reduceable]
async fn span_above(id: u64) -> Result<u64, String> {
    begin("span_above").await;
    Ok(id)
}

#[reduceable]
#[tracing::instrument(err, ret)]
async fn span_below(id: u64) -> Result<u64, String> {
    begin("span_below").await;
    Ok(id)
}

/// Counts spans.
struct Spans;

impl tracing::Subscriber for Spans {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        // The reducer's own spans have a test of their own.
        metadata.target() != "reducer"
    }

    fn new_span(&self, span: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        match span.metadata().name() {
            "span_above" => count_run("spans above"),
            "span_below" => count_run("spans below"),
            other => panic!("{other}"),
        }
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[tokio::test(start_paused = true)]
async fn tracing_instrument_above_is_one_span_of_the_run_and_below_one_of_each_caller() {
    let _spans = tracing::subscriber::set_default(Spans);
    assert_eq!(join!(sendable(span_above(1)), span_above(1)), (Ok(1), Ok(1)));
    assert_eq!((runs("span_above"), runs("spans above")), (1, 1));
    assert_eq!(join!(sendable(span_below(1)), span_below(1)), (Ok(1), Ok(1)));
    assert_eq!((runs("span_below"), runs("spans below")), (1, 2));
}

// Row 22.
macro_rules! function {
    ($name:ident, $arg:ident: $ty:ty, $out:ty, $body:block) => {
        #[reduceable]
        async fn $name($arg: $ty) -> $out $body
    };
}
function!(made, s: &str, usize, {
    begin("made").await;
    s.len()
});

macro_rules! method {
    ($name:ident, $self:ident, $body:block) => {
        #[reduceable]
        async fn $name(&$self) -> usize $body
    };
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Me(u8);

impl Me {
    method!(made, self, {
        begin("Me::made").await;
        usize::from(self.0) + format!("{self:?}").len()
    });

    #[reduceable]
    async fn every_self(&self) -> String {
        #[allow(unused_imports, reason = "the path is the test")]
        use self::inner as _;
        struct Inner(u8);
        impl Inner {
            fn get(&self) -> u8 {
                self.0
            }
        }
        trait Get {
            fn got(&self) -> u8;
        }
        impl Get for Inner {
            fn got(&self) -> u8 {
                self.0
            }
        }
        fn free(x: u8) -> u8 {
            x
        }
        begin("every_self").await;
        let f: fn(u8) -> u8 = free;
        let closure = || self.0;
        let block = async { self.0 };
        let list = vec![self.0];
        let is_one = matches!(self.0, 1);
        let text = format!("{self:?} {{self}} {0:?}", self.0);
        let inner = (Inner(f(2)).get(), Inner(3).got(), self::inner::FOUR);
        format!("{} {} {list:?} {is_one} {text} {inner:?}", closure(), block.await)
    }
}

mod inner {
    pub(super) const FOUR: u8 = 4;
}

#[tokio::test(start_paused = true)]
async fn functions_made_by_macros_and_self_in_macros_work() {
    assert_eq!(join!(made("ab"), made("ab"), made("c")), (2, 2, 1));
    assert_eq!(runs("made"), 2);
    assert_eq!(join!(Me(1).made(), Me(1).made()), (6, 6));
    assert_eq!(runs("Me::made"), 1);
    let (a, b) = (Me(1), Me(1));
    let (a, b) = join!(sendable(a.every_self()), b.every_self());
    assert_eq!([a, b], ["1 1 [1] true Me(1) {self} 1 (2, 3, 4)"; 2]);
    assert_eq!(runs("every_self"), 1);
}

// Row 23.
#[reduceable]
async fn factorial(n: u64) -> u64 {
    count_run("factorial");
    if n == 0 { 1 } else { n * boxed(n - 1).await }
}

fn boxed(n: u64) -> Pin<Box<dyn Future<Output = u64> + Send>> {
    Box::pin(factorial(n))
}

#[tokio::test]
async fn recursion_goes_through_a_function_that_boxes() {
    assert_eq!((factorial(4).await, runs("factorial")), (24, 5));
}

// Row 24. Editions before 2024 are in `editions/`.
#[reduceable(key = ())]
async fn tail(m: Arc<Mutex<u8>>) -> u8 {
    count_run("tail");
    *m.lock().expect("nobody panicked")
}

#[reduceable(key = ())]
fn blocking_tail(m: Arc<Mutex<u8>>) -> u8 {
    count_run("tail");
    *m.lock().expect("nobody panicked")
}

#[tokio::test]
async fn a_guard_in_the_last_expression_is_dropped_before_the_arguments() {
    let m = || Arc::new(Mutex::new(1));
    assert_eq!((tail(m()).await, blocking_tail(m()), runs("tail")), (1, 1, 2));
}
