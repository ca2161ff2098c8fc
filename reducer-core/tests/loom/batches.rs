//! The hand-over of answers in a batch: callers that come, poll, leave, and the task that answers.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};

use loom::future::block_on;
use loom::sync::atomic::{AtomicUsize, Ordering};
use loom::thread;
use reducer_core::batch::AggregateError;
use reducer_core::batch::door::Batch;

use crate::model;

/// A seat as a future.
struct Seat(Batch, usize);

impl Future for Seat {
    type Output = Result<u64, AggregateError<std::convert::Infallible>>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        self.0.poll(self.1, cx)
    }
}

fn board(batch: &Batch, arg: u64) -> Seat {
    Seat(batch.clone(), batch.board(arg, Waker::noop().clone()))
}

/// A seat is looked for and taken in two steps.
#[test]
#[should_panic(expected = "two callers in one seat")]
fn canary_a_planted_race_is_caught() {
    model(3, || {
        let taken = std::sync::Arc::new(AtomicUsize::new(0));
        let board = move || {
            let seat = taken.load(Ordering::Acquire);
            taken.store(seat + 1, Ordering::Release);
            seat
        };
        let other = thread::spawn(board.clone());
        let mine = board();
        assert_ne!(mine, other.join().unwrap(), "two callers in one seat");
    });
}

#[test]
fn an_answer_is_never_slept_through() {
    model(3, || {
        let batch = Batch::new();
        let (first, second) = (board(&batch, 1), board(&batch, 2));
        let task = thread::spawn(move || {
            let args = batch.depart();
            batch.deal(args.into_iter().map(|arg| arg * 10).collect());
        });
        let other = thread::spawn(move || assert_eq!(block_on(second).unwrap(), 20));
        assert_eq!(block_on(first).unwrap(), 10);
        task.join().unwrap();
        other.join().unwrap();
    });
}

#[test]
fn who_leaves_takes_nobodys_answer_along() {
    model(3, || {
        let batch = Batch::new();
        let (first, second) = (board(&batch, 1), board(&batch, 2));
        let leaver = {
            let (batch, seat) = (batch.clone(), first.1);
            thread::spawn(move || batch.leave(seat))
        };
        let args = batch.depart();
        let asked = args.len();
        batch.deal(args.into_iter().map(|arg| arg * 10).collect());
        let had_not_departed = leaver.join().unwrap();
        assert_eq!(asked, if had_not_departed { 1 } else { 2 });
        assert_eq!(block_on(second).unwrap(), 20);
    });
}

#[test]
fn slots_answered_as_the_batch_closes_are_answered_or_closed() {
    model(3, || {
        let batch = Batch::new();
        let (first, second) = (board(&batch, 1), board(&batch, 2));
        assert_eq!(batch.depart(), [1, 2]);
        let task = {
            let (batch, seat) = (batch.clone(), first.1);
            thread::spawn(move || batch.answer(seat, 10))
        };
        let runtime = thread::spawn(move || batch.close());
        match block_on(first) {
            Ok(answer) => assert_eq!(answer, 10),
            Err(error) => assert!(matches!(error, AggregateError::Closed)),
        }
        assert!(matches!(block_on(second), Err(AggregateError::Closed)));
        task.join().unwrap();
        runtime.join().unwrap();
    });
}
