//! `#[reduceable]` and what identifies a call: `key = ..`, the function, and nothing else.
#![deny(warnings)]

use std::pin::pin;
use std::sync::Arc;

use reducer_core::{ByPtr, Reducer, reduceable};
use reducer_tests::{ByHand, Gate, begin, count_run, runs};
use tokio::join;

// Row 14.
#[reduceable(key = id)]
async fn bare(id: u64, trace: u64) -> u64 {
    begin("bare").await;
    id + trace
}

#[reduceable(key = (id, opts.1.as_str(), n % 10))]
async fn tuple(id: u64, opts: (u8, String), n: u32) -> usize {
    begin("tuple").await;
    let _ = (id, n);
    opts.1.len()
}

#[reduceable(key = ())]
async fn one_for_all(id: u64) -> u64 {
    begin("one_for_all").await;
    id
}

#[tokio::test(start_paused = true)]
async fn the_key_is_what_the_option_says() {
    // What the key leaves out is the leader's.
    assert_eq!(join!(bare(1, 10), bare(1, 20), bare(2, 10)), (11, 11, 12));
    assert_eq!(runs("bare"), 2);
    let call = |opt, tag: &str, n| tuple(1, (opt, tag.to_owned()), n);
    join!(call(1, "a", 11), call(2, "a", 21), call(1, "b", 11));
    assert_eq!(runs("tuple"), 2);
    assert_eq!(join!(one_for_all(3), one_for_all(4)), (3, 3));
    assert_eq!(runs("one_for_all"), 1);
}

struct Request {
    name: String,
}

struct Query {
    page: u32,
    size: u32,
}

struct Json<T>(T);

#[reduceable(key = req.name.to_lowercase())]
async fn computed(req: Request) -> String {
    begin("computed").await;
    req.name
}

#[reduceable(key = (page, name))]
async fn from_patterns(Query { page, size }: Query, Json(name): Json<String>) -> usize {
    begin("from_patterns").await;
    size as usize + name.len()
}

#[reduceable(key = (id as u8, Some(id), 1.5 * f, { let half = id / 2; half + 1 }))]
async fn any_expression(id: u64, f: f64) -> u64 {
    begin("any_expression").await;
    let _ = f;
    id
}

#[reduceable(key = unused)]
async fn only_in_the_key(unused: u64) -> u64 {
    begin("only_in_the_key").await;
    1
}

struct Tenant(u8);

impl Tenant {
    const KIND: u8 = 1;

    #[reduceable(key = (Self::KIND, self.0, &*x))]
    async fn with_self(self: Arc<Self>, x: String) -> usize {
        begin("with_self").await;
        usize::from(self.0) + x.len()
    }
}

#[tokio::test(start_paused = true)]
async fn the_key_is_any_expression_over_the_arguments() {
    let request = |name: &str| computed(Request { name: name.into() });
    assert_eq!(join!(request("Ann"), request("ANN")), ("Ann".into(), "Ann".into()));
    assert_eq!(runs("computed"), 1);
    let query = |size| from_patterns(Query { page: 1, size }, Json("a".into()));
    assert_eq!(join!(query(1), query(2)), (2, 2));
    assert_eq!(runs("from_patterns"), 1);
    join!(any_expression(4, 1.0), any_expression(4, 1.0), any_expression(4, -1.0));
    assert_eq!(runs("any_expression"), 2);
    join!(only_in_the_key(1), only_in_the_key(1), only_in_the_key(2));
    assert_eq!(runs("only_in_the_key"), 2);
    let call = |x: &str| Arc::new(Tenant(1)).with_self(x.into());
    assert_eq!(join!(call("x"), call("x"), call("y")), (2, 2, 2));
    assert_eq!(runs("with_self"), 2);
}

// Row 11, for arguments.
#[reduceable(key = (ByPtr(&hook), ByPtr(Arc::clone(state))))]
async fn by_address(hook: Arc<dyn Fn() + Send + Sync>, state: &Arc<u8>) -> u8 {
    begin("by_address").await;
    hook();
    **state
}

#[tokio::test(start_paused = true)]
async fn by_ptr_makes_keys_of_what_cannot_be_compared() {
    let hook: Arc<dyn Fn() + Send + Sync> = Arc::new(|| count_run("hook"));
    let (state, twin) = (Arc::new(1), Arc::new(1));
    let call = |state| by_address(Arc::clone(&hook), state);
    join!(call(&state), call(&state), call(&twin));
    assert_eq!((runs("by_address"), runs("hook")), (2, 2));
}

// Row 15, as the contract has it.
#[tokio::test(start_paused = true)]
async fn two_functions_with_equal_keys_never_meet_on_one_reducer_either() {
    #[reduceable(reducer = reducer, skip(reducer))]
    async fn name(reducer: &Reducer, id: u64) -> String {
        begin("name").await;
        format!("name {id}")
    }
    #[reduceable(reducer = reducer, skip(reducer))]
    async fn mail(reducer: &Reducer, id: u64) -> String {
        begin("mail").await;
        format!("mail {id}")
    }
    let reducer = Reducer::new();
    let (a, b, c) = join!(
        name(&reducer, 7),
        mail(&reducer, 7),
        reducer.reduce(7u64, async { "by hand".to_owned() }),
    );
    assert_eq!([a, b, c], ["name 7", "mail 7", "by hand"]);
    assert_eq!((runs("name"), runs("mail")), (1, 1));
}

#[test]
fn two_functions_made_by_one_macro_never_meet() {
    macro_rules! getter {
        ($module:ident) => {
            mod $module {
                #[reducer_core::reduceable]
                pub(super) async fn get(id: u64) -> (&'static str, u64) {
                    reducer_tests::begin("getter").await;
                    (stringify!($module), id)
                }
            }
        };
    }
    getter!(users);
    getter!(orders);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    let both = runtime.block_on(async { join!(users::get(7), orders::get(7)) });
    assert_eq!(both, (("users", 7), ("orders", 7)));
    assert_eq!(runs("getter"), 2);
}

#[test]
fn forget_finds_a_flight_by_the_owned_form_of_its_arguments() {
    #[reduceable(skip(gate, answer))]
    async fn read(id: u64, name: &str, gate: &Gate, answer: &'static str) -> &'static str {
        count_run("read");
        let _ = (id, name);
        gate.pass().await;
        answer
    }
    let gate = Gate::new();
    let (key, reducer) = ((7001u64, "x".to_string()), Reducer::global());
    let mut before = ByHand::new(read(7001, "x", &gate, "before the write"));
    before.pending();
    assert!(reducer.is_in_flight(&key));
    assert_eq!(reducer.callers(&key), 1);
    assert!(!reducer.forget(&(7001u64, "y".to_string())));
    assert!(reducer.forget(&key));
    assert!(!reducer.is_in_flight(&key));
    let mut after = ByHand::new(read(7001, "x", &gate, "after the write"));
    after.pending();
    gate.open();
    gate.open();
    assert_eq!((before.ready(), after.ready()), ("before the write", "after the write"));
    assert_eq!((runs("read"), reducer.is_in_flight(&key)), (2, false));
}

#[test]
fn forget_finds_a_flight_of_one_argument_by_that_alone() {
    #[reduceable(key = path)]
    async fn load(path: &str, gate: &Gate) -> usize {
        count_run("load");
        gate.pass().await;
        path.len()
    }
    let gate = Gate::new();
    let mut call = ByHand::new(load("/a/path", &gate));
    call.pending();
    assert!(Reducer::global().forget(&"/a/path".to_string()));
    gate.open();
    assert_eq!((call.ready(), runs("load")), (7, 1));
}

/// The expansion never does that: the loan of a key stays in the work. Who does it all the same keeps the key.
#[test]
fn a_key_that_is_taken_out_of_the_work_stays_good() {
    use reducer_core::macro_support as support;
    let (reducer, made) = (Reducer::new(), Arc::new(7));
    let weak = Arc::downgrade(&made);
    let mut kept = None;
    {
        let key = support::probe(&made).part();
        let flight = pin!(support::no_flight());
        let call = support::call_lent::<u64, _, _, _, _>(flight, &reducer, &|| {}, key, |key| {
            kept = Some(key);
            async { 1 }
        });
        let support::Started::Landed(value) = call else { panic!("it is ready at once") };
        assert_eq!(value, 1);
    }
    drop((made, reducer));
    let kept = kept.expect("it was built");
    assert!(**kept == 7 && weak.upgrade().is_some(), "the flight's memory is not given back");
    // Nor later: nobody is there who could.
    drop(kept);
    assert!(weak.upgrade().is_some());
}

mod spoof {
    use std::borrow::Borrow;

    /// Called as a string is, but for where it lies; what it is owned as is a string.
    #[allow(non_camel_case_types, reason = "that is what is tried")]
    #[derive(Debug, Hash, PartialEq, Eq)]
    pub struct str(pub u8);

    impl Borrow<str> for String {
        fn borrow(&self) -> &str {
            const { &str(7) }
        }
    }

    impl ToOwned for str {
        type Owned = String;

        fn to_owned(&self) -> String {
            super::count_run("spoof");
            // A deadlock, if this ran under the lock that it takes.
            assert_eq!(reducer_core::Reducer::global().in_flight(), 0);
            String::from("7")
        }
    }
}

#[test]
fn what_is_only_called_as_a_string_is_not_owned_under_a_lock() {
    #[reduceable]
    async fn by_spoof(name: &spoof::str) -> usize {
        name.0.into()
    }
    let spoof = spoof::str(7);
    let by_hand = Reducer::global().reduce_by_ref(&spoof, async { 7 });
    assert_eq!(ByHand::new(by_hand).ready(), 7);
    assert_eq!(ByHand::new(by_spoof(&spoof)).ready(), 7);
    assert!(runs("spoof") >= 2);
}
