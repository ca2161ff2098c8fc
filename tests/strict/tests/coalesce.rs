//! The functions of the strict crate coalesce like any.

use std::sync::Arc;

use reducer_core::Reducer;
use reducer_tests::runs;
use reducer_tests_strict as strict;
use tokio::join;

#[tokio::test(start_paused = true)]
async fn all_compile_and_coalesce() {
    let call = || strict::arguments(strict::Option, &strict::Result, 1, strict::String, 1, "s");
    join!(call(), call());
    join!(strict::unit(1), strict::unit(1));
    assert_eq!(strict::blocking(2, (1, 1), "s"), 4);
    join!(strict::keyed(1, (1, 1)), strict::keyed(1, (1, 2)));
    let reducer = Reducer::new();
    let (a, b) = join!(strict::limited(&reducer, "7"), strict::limited(&reducer, "7"));
    assert_eq!((a.unwrap(), b.unwrap()), (7, 7));
    let this = strict::Option;
    join!(this.by_ref("s"), this.by_ref("s"));
    join!(this.by_value(), this.by_value());
    let this = Arc::new(this);
    join!(Arc::clone(&this).by_arc(1), this.by_arc(1));
    for body in
        ["arguments", "unit", "blocking", "keyed", "limited", "by_ref", "by_value", "by_arc"]
    {
        assert_eq!(runs(body), 1, "{body}");
    }
}
