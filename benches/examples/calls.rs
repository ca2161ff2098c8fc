//! A fixed program to count instructions of: calls, one after another, without hooks or with statistics.
//! `../hooks-cost` runs it.

use std::future::{Future, ready};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use reducer_core::{Reducer, StatisticsOverallHooks};

fn main() {
    let mut args = std::env::args().skip(1);
    let hooks = args.next().expect("`none` or `overall`");
    let calls: u64 = args.next().and_then(|calls| calls.parse().ok()).expect("how many calls");
    let builder = Reducer::builder();
    let reducer = match &*hooks {
        "none" => builder.build(),
        "overall" => builder.hooks(StatisticsOverallHooks::new()).build(),
        other => panic!("`{other}` is neither `none` nor `overall`"),
    };
    let mut cx = Context::from_waker(Waker::noop());
    for call in 0..calls {
        let call = pin!(reducer.reduce(call, ready(call)));
        assert!(matches!(call.poll(&mut cx), Poll::Ready(_)));
    }
}
