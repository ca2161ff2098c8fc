//! `#[reduceable]` on arguments as users write them: equal ones are one run, and the body sees each
//! exactly as the function declared it.
#![deny(warnings)]

use std::ffi::OsStr;
use std::path::Path;
use std::sync::Arc;

use reducer_core::reduceable;
use reducer_tests::{Count, DropCounts, begin, runs};
use tokio::join;

fn sendable<F: Future + Send>(future: F) -> F {
    future
}

// Row 1.
#[reduceable]
async fn owned(id: u64, name: String) -> String {
    begin("owned").await;
    let mut name = name;
    name.push_str(&id.to_string());
    name
}

#[tokio::test(start_paused = true)]
async fn equal_arguments_are_one_run_and_others_are_another() {
    let call = |id, name: &str| sendable(owned(id, name.to_owned()));
    let (a, b, c, other) = join!(call(1, "a"), call(1, "a"), call(1, "a"), call(2, "a"));
    assert_eq!([a, b, c, other], ["a1", "a1", "a1", "a2"]);
    assert_eq!(runs("owned"), 2);
}

#[tokio::test(start_paused = true)]
async fn when_the_flight_has_landed_the_next_call_runs_again() {
    #[reduceable]
    async fn again(id: u64) -> u64 {
        begin("again").await;
        id
    }
    again(1).await;
    again(1).await;
    assert_eq!(runs("again"), 2);
}

// Row 2.
#[derive(Clone)]
struct Client(&'static str);

#[reduceable(skip(client))]
async fn borrowed(client: &Client, tag: &str, xs: &[u8], opt: Option<&str>) -> String {
    let _: (&Client, &str, &[u8], Option<&str>) = (client, tag, xs, opt);
    begin("borrowed").await;
    format!("{} {tag} {xs:?} {opt:?}", client.0)
}

#[tokio::test(start_paused = true)]
async fn borrowed_arguments_are_compared_by_what_they_borrow_and_skipped_ones_not_at_all() {
    let (leader, follower) = (Client("leader's"), Client("follower's"));
    let (tag, x) = (String::from("ab"), String::from("x"));
    let (a, b, other) = join!(
        sendable(borrowed(&leader, &tag, &[1, 2], Some("x"))),
        borrowed(&follower, "ab", &[1, 2], Some(&x)),
        borrowed(&follower, "ab", &[1, 2], None),
    );
    // The client of a call that joins is not used.
    assert_eq!([&a, &b], [r#"leader's ab [1, 2] Some("x")"#; 2]);
    assert_eq!(other, "follower's ab [1, 2] None");
    assert_eq!(runs("borrowed"), 2);
}

// Row 3.
#[reduceable]
#[allow(clippy::too_many_arguments, clippy::ptr_arg, reason = "these types are the test")]
async fn behind_references(
    a: &Arc<String>,
    p: &Path,
    o: &OsStr,
    v: &Vec<u8>,
    t: &(u8, u16),
    r: &[u8; 4],
    s: &String,
    n: &u8,
) -> usize {
    type All<'a> =
        (&'a Arc<String>, &'a Path, &'a OsStr, &'a Vec<u8>, &'a (u8, u16), &'a [u8; 4], &'a String);
    let _: (All<'_>, &u8) = ((a, p, o, v, t, r, s), n);
    begin("behind_references").await;
    a.len() + v.len()
}

#[tokio::test(start_paused = true)]
async fn whatever_is_to_owned_can_be_behind_a_reference() {
    async fn call(n: u8) -> usize {
        let (a, v, s) = (Arc::new("x".to_owned()), vec![1], String::new());
        sendable(behind_references(&a, "p".as_ref(), "o".as_ref(), &v, &(1, 2), &[0; 4], &s, &n))
            .await
    }
    assert_eq!(join!(call(1), call(1), call(2)), (2, 2, 2));
    assert_eq!(runs("behind_references"), 2);
}

// Row 4. Early-bound lifetimes are in `reduceable_generics`.
#[reduceable]
async fn statics(a: &'static str, g: fn(&str) -> usize, b: Box<[u8]>, c: &'_ str) -> usize {
    let kept: &'static str = a;
    begin("statics").await;
    g(kept) + b.len() + c.len()
}

#[reduceable]
#[allow(clippy::needless_lifetimes, reason = "that is the test")]
async fn two_lifetimes<'a, 'b>(x: &'a str, y: &'b str) -> usize {
    begin("two_lifetimes").await;
    x.len() + y.len()
}

#[tokio::test(start_paused = true)]
async fn static_references_stay_what_they_are_and_other_lifetimes_are_no_matter() {
    let call = || statics("ab", str::len, Box::new([1]), "c");
    assert_eq!(join!(call(), call()), (4, 4));
    assert_eq!(runs("statics"), 1);
    let (long, short) = (String::from("a"), "b");
    assert_eq!(join!(two_lifetimes(&long, short), two_lifetimes("a", "b")), (2, 2));
    assert_eq!(runs("two_lifetimes"), 1);
}

#[reduceable]
async fn optional(a: Option<&'static str>, mut b: &str, c: Option<&[u8]>) -> usize {
    let _: Option<&'static str> = a;
    begin("optional").await;
    b = b.trim();
    b.len() + c.map_or(0, <[u8]>::len)
}

#[tokio::test(start_paused = true)]
async fn options_of_references_are_references() {
    let bytes = vec![1, 2];
    let (a, b, none) = join!(
        optional(Some("a"), " b ", Some(&bytes)),
        optional(Some("a"), " b ", Some(&[1, 2])),
        optional(None, " b ", None),
    );
    assert_eq!((a, b, none), (3, 3, 1));
    assert_eq!(runs("optional"), 2);
}

// Row 32, what it exempts: the lifetimes of a function type are its own business.
#[reduceable(skip(f, g))]
async fn functions(
    a: u8,
    f: impl Fn(&str) -> usize + Send + 'static,
    g: Box<dyn Fn(&str) -> &str + Send>,
    h: fn(&str) -> usize,
) -> usize {
    begin("functions").await;
    f("ab") + g("abc").len() + h("abcd") + usize::from(a)
}

#[tokio::test(start_paused = true)]
async fn functions_that_take_references_are_owned_types() {
    let call = || functions(1, str::len, Box::new(|s| s), str::len);
    assert_eq!(join!(sendable(call()), call()), (10, 10));
    assert_eq!(runs("functions"), 1);
}

// Row 5.
#[reduceable]
async fn floats(a: f32, b: f64, c: &f32) -> f64 {
    begin("floats").await;
    f64::from(a) + b + f64::from(*c)
}

#[tokio::test(start_paused = true)]
async fn floats_are_compared_by_their_bits() {
    join!(
        floats(f32::NAN, 0.0, &1.0),
        floats(f32::NAN, 0.0, &1.0),
        floats(f32::NAN, -0.0, &1.0),
        floats(1.0, 0.0, &1.0),
    );
    assert_eq!(runs("floats"), 3);
}

// Row 6.
#[derive(Clone, Hash, PartialEq, Eq)]
struct Json<T>(T);

#[derive(Clone, Hash, PartialEq, Eq)]
struct Query {
    page: u32,
    size: u32,
}

#[reduceable]
#[allow(
    clippy::toplevel_ref_arg,
    clippy::too_many_arguments,
    reason = "these patterns are the test"
)]
async fn patterns(
    mut a: u32,
    ref d: String,
    _: u8,
    (x, mut y): (u8, u8),
    &r: &u8,
    Json(b): Json<String>,
    Query { page, size: mut s }: Query,
) -> u32 {
    a += 1;
    y += 1;
    s += 1;
    let d: &String = d;
    begin("patterns").await;
    [x, y, r].map(u32::from).iter().sum::<u32>() + a + page + s + (b.len() + d.len()) as u32
}

#[tokio::test(start_paused = true)]
async fn patterns_bind_what_they_bind_without_the_attribute() {
    let query = Query { page: 1, size: 2 };
    let call =
        |unnamed| patterns(1, "d".into(), unnamed, (1, 2), &1, Json("b".into()), query.clone());
    // An argument without a name is in the key all the same.
    assert_eq!(join!(sendable(call(0)), call(0), call(1)), (13, 13, 13));
    assert_eq!(runs("patterns"), 2);
}

#[reduceable(key = ())]
async fn unnamed(_: DropCounts, (_, n): (DropCounts, usize), dropped: Count) -> usize {
    let before = dropped.get();
    begin("unnamed").await;
    before + dropped.get() + n
}

#[tokio::test(start_paused = true)]
async fn what_is_bound_to_nothing_lives_to_the_end_of_the_body() {
    let dropped = Count::new();
    let guard = || DropCounts(dropped.clone());
    assert_eq!(unnamed(guard(), (guard(), 1), dropped.clone()).await, 1);
    assert_eq!((dropped.get(), runs("unnamed")), (2, 1));
}

// Row 18.
#[reduceable]
async fn with_attributes(
    id: u8,
    #[cfg(all(unix, windows))] gone: Missing,
    #[cfg(any(unix, windows))] here: &str,
    #[cfg_attr(all(), cfg(all(unix, windows)))] gone_too: Missing,
    #[cfg_attr(any(unix, windows), allow(unused_variables, reason = "as users do"))]
    allowed_here: u8,
    #[allow(unused_variables, reason = "as users do")] allowed: u8,
    #[expect(unused_variables, reason = "as users do")] expected: u8,
) -> usize {
    #![allow(clippy::identity_op, reason = "an inner attribute is the test")]
    begin("with_attributes").await;
    usize::from(id) + here.len() + 0
}

#[tokio::test(start_paused = true)]
async fn attributes_of_arguments_mean_what_they_mean_without_the_attribute() {
    let call = |here: &'static str| with_attributes(1, here, 1, 1, 2);
    assert_eq!(join!(call("a"), call("a"), call("b")), (2, 2, 2));
    assert_eq!(runs("with_attributes"), 2);
}

#[tokio::test(start_paused = true)]
async fn more_than_twelve_arguments_are_still_a_key() {
    #[reduceable]
    #[allow(clippy::too_many_arguments, reason = "that is the test")]
    #[rustfmt::skip]
    async fn many(
        a: u8, b: u8, c: u8, d: u8, e: u8, f: u8, g: u8, h: u8, i: u8, j: u8, k: u8, l: u8, m: u8,
    ) -> u8 {
        begin("many").await;
        a + b + c + d + e + f + g + h + i + j + k + l + m
    }
    let call = |last| many(1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, last);
    assert_eq!(join!(call(1), call(1), call(2)), (13, 13, 14));
    assert_eq!(runs("many"), 2);
}

#[tokio::test(start_paused = true)]
async fn names_that_are_keywords_or_begin_with_an_underscore_are_names() {
    #[reduceable(skip(_client))]
    async fn r#fn(r#type: u8, _client: &Arc<u8>, _unused: u8) -> u8 {
        begin("r#fn").await;
        r#type
    }
    let client = Arc::new(1);
    join!(r#fn(1, &client, 1), r#fn(1, &client, 1), r#fn(1, &client, 2));
    assert_eq!(runs("r#fn"), 2);
}

// Row 20. Names of ours and of the runtime's do not meet the user's.
#[reduceable]
#[allow(clippy::too_many_arguments, reason = "one argument for each name")]
async fn names(
    flight: u8,
    reducer: &str,
    key: &str,
    site: u8,
    kept1: &str,
    miss: u8,
    arg7: (u8, u8),
    (never, outcome): (u8, u8),
) -> usize {
    begin("names").await;
    let lengths = reducer.len() + key.len() + kept1.len();
    lengths + usize::from(flight + site + miss + arg7.0 + never + outcome)
}

#[tokio::test(start_paused = true)]
async fn arguments_may_have_the_names_that_the_expansion_uses() {
    let call = || names(1, "r", "k", 1, "k", 1, (1, 1), (1, 1));
    assert_eq!(join!(call(), call()), (9, 9));
    assert_eq!(runs("names"), 1);
}

#[test]
fn an_argument_may_be_there_only_sometimes() {
    #[reduceable(skip(here, gone))]
    async fn sometimes(
        id: u64,
        #[cfg(any(unix, not(unix)))] here: String,
        #[cfg(all(unix, not(unix)))] gone: Nothing,
    ) -> u64 {
        id + here.len() as u64
    }
    assert_eq!(pollster::block_on(sometimes(1, String::from("ab"))), 3);
}

/// What is said where an argument is declared holds wherever we name it.
#[reduceable(key = Id)]
async fn named_as_the_protocol_has_it(
    #[allow(non_snake_case, reason = "its name")] Id: u64,
    #[cfg_attr(all(), allow(non_snake_case, reason = "its name"))] Name: &str,
) -> usize {
    begin("named_as_the_protocol_has_it").await;
    Id as usize + Name.len()
}

#[tokio::test(start_paused = true)]
async fn lints_may_be_allowed_of_an_argument() {
    let call = || named_as_the_protocol_has_it(1, "a");
    assert_eq!(join!(call(), call()), (2, 2));
    assert_eq!(runs("named_as_the_protocol_has_it"), 1);
}
