//! What a call may cost: allocations, bytes and future sizes, counted exactly.

use std::pin::pin;
use std::task::{Context, Waker};

use reducer_core::Reducer;
use reducer_tests::allocations::{Counting, allocations, bytes_in_use};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

fn cx() -> Context<'static> {
    Context::from_waker(Waker::noop())
}

/// Suspends so often, having woken itself.
struct Yields(usize);

impl Future for Yields {
    type Output = u64;

    fn poll(mut self: std::pin::Pin<&mut Self>, cx: &mut Context<'_>) -> std::task::Poll<u64> {
        if self.0 == 0 {
            return std::task::Poll::Ready(7);
        }
        self.0 -= 1;
        cx.waker().wake_by_ref();
        std::task::Poll::Pending
    }
}

#[test]
fn an_uncontended_call_with_a_copy_key_allocates_once() {
    let reducer = Reducer::new();
    // The table's own room is there after the first call of each shard.
    for key in 0..1000u64 {
        assert!(pin!(reducer.reduce(key, Yields(0))).poll(&mut cx()).is_ready());
    }
    for suspensions in [0, 1, 20] {
        let (made, ()) = allocations(|| {
            let mut call = pin!(reducer.reduce(7u64, Yields(suspensions)));
            for _ in 0..suspensions {
                assert!(call.as_mut().poll(&mut cx()).is_pending());
            }
            assert!(call.as_mut().poll(&mut cx()).is_ready());
        });
        assert!(made <= 1, "{made} allocations, suspended {suspensions} times");
    }
}

#[test]
fn joining_allocates_nothing_however_many_are_in_flight() {
    let reducer = Reducer::new();
    let mut leaders = Vec::new();
    for key in 0..2000u64 {
        let mut lead = Box::pin(reducer.reduce(key, std::future::pending::<u64>()));
        assert!(lead.as_mut().poll(&mut cx()).is_pending());
        leaders.push(lead);
        let (made, ()) = allocations(|| {
            let mut follower = pin!(reducer.reduce(key, std::future::pending::<u64>()));
            assert!(follower.as_mut().poll(&mut cx()).is_pending());
        });
        assert_eq!(made, 0, "with {} in flight", leaders.len());
    }
}

#[test]
fn joining_allocates_nothing_where_there_is_a_timeout() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let _entered = runtime.enter();
    let reducer = Reducer::builder().timeout(std::time::Duration::from_secs(100)).build();
    let mut lead = pin!(reducer.reduce(7u64, std::future::pending::<u64>()));
    assert!(lead.as_mut().poll(&mut cx()).is_pending());
    let (made, ()) = allocations(|| {
        let mut follower = pin!(reducer.reduce(7u64, std::future::pending::<u64>()));
        assert!(follower.as_mut().poll(&mut cx()).is_pending());
    });
    assert_eq!(made, 0);
}

#[test]
fn joining_allocates_nothing() {
    let reducer = Reducer::new();
    let mut lead = pin!(reducer.reduce(7u64, std::future::pending::<u64>()));
    assert!(lead.as_mut().poll(&mut cx()).is_pending());
    let mut followers: Vec<_> =
        (0..1000).map(|_| Box::pin(reducer.reduce(7u64, std::future::pending::<u64>()))).collect();
    let (made, ()) = allocations(|| {
        for follower in &mut followers {
            assert!(follower.as_mut().poll(&mut cx()).is_pending());
        }
    });
    assert_eq!(made, 0);
}

#[tokio::test]
async fn joining_allocates_nothing_under_tokio_either() {
    let reducer = Reducer::new();
    let mut lead = pin!(reducer.reduce(7u64, std::future::pending::<u64>()));
    assert!(futures_util::poll!(lead.as_mut()).is_pending());
    let mut followers: Vec<_> = (0..1000)
        .map(|_| Box::pin(reducer.reduce_by_ref(&7u64, std::future::pending::<u64>())))
        .collect();
    let (made, ()) = allocations(|| {
        for follower in &mut followers {
            assert!(follower.as_mut().poll(&mut cx()).is_pending());
        }
    });
    assert_eq!(made, 0);
}

#[test]
fn joining_with_a_borrowed_key_owns_nothing() {
    let reducer = Reducer::new();
    let key = "a key that is too long for any trick with short strings";
    let mut lead = pin!(reducer.reduce_by_ref(key, std::future::pending::<u64>()));
    assert!(lead.as_mut().poll(&mut cx()).is_pending());
    let (made, ()) = allocations(|| {
        let mut follow = pin!(reducer.reduce_by_ref(key, std::future::pending::<u64>()));
        assert!(follow.as_mut().poll(&mut cx()).is_pending());
    });
    assert_eq!(made, 0);
}

#[test]
fn a_flight_takes_at_most_256_bytes_beside_its_key_its_future_and_its_value() {
    const FLIGHTS: usize = 100_000;
    type Work = std::future::Pending<[u64; 4]>;
    let reducer = Reducer::new();
    let mut calls: Vec<_> = (0..FLIGHTS as u64)
        .map(|key| Box::pin(reducer.reduce(key, std::future::pending::<[u64; 4]>())))
        .collect();
    let before = bytes_in_use();
    for call in &mut calls {
        assert!(call.as_mut().poll(&mut cx()).is_pending());
    }
    let each = (bytes_in_use() - before) as usize / FLIGHTS;
    let own = each - size_of::<u64>() - size_of::<Work>() - size_of::<[u64; 4]>();
    println!("{own} bytes a flight");
    assert!(own <= 256, "{own} bytes a flight");
}

#[test]
fn a_followers_future_stays_small_whatever_the_work() {
    let reducer = Reducer::new();
    let call = reducer.reduce_with(7u64, || async {
        let large = [0u8; 64 * 1024];
        std::future::ready(()).await;
        large.len()
    });
    println!("{} bytes a caller", size_of_val(&call));
    assert!(size_of_val(&call) < 256, "{} bytes", size_of_val(&call));
}
