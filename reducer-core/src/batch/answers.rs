//! What a batch function may answer with, and whose each answer is.

use std::collections::HashMap;
use std::convert::Infallible;
use std::hash::{BuildHasher, Hash};

use super::error::AggregateError;

/// What a batch function returns, for arguments `T`.
///
/// | it returns | a caller gets |
/// |---|---|
/// | `Vec<R>`: an answer for each argument, in their order | `R` |
/// | `HashMap<T, R>`: answers by argument, with any hasher | `Option<R>`: equal arguments each have a clone |
/// | either inside of `Result<_, E>` | the same, or [`AggregateError::Batch`] with the error |
///
/// One answer per argument that may fail on its own is a `Vec<Result<R, E>>`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` is not what a batch function answers with",
    label = "this batch function has to return `Vec<R>`, `HashMap<T, R>`, or either in a `Result`",
    note = "`HashMap` looks up by argument: `T: Hash + Eq + Clone` and `R: Clone`"
)]
pub trait Answers<T>: Sized {
    /// What a caller gets of an answer.
    type Answer;
    /// What the batch fails with; [`Infallible`] if it cannot.
    type Error;
    /// What a function under [`#[aggregate]`](macro@crate::aggregate) gives its caller.
    type Given;
    /// What has to be known of the arguments to tell the answers apart.
    #[doc(hidden)]
    type Asked: Send;

    #[doc(hidden)]
    fn ask(args: &[T]) -> Self::Asked;

    #[doc(hidden)]
    fn deal(self, asked: Self::Asked) -> Result<Vec<Self::Answer>, AggregateError<Self::Error>>;

    #[doc(hidden)]
    fn give(outcome: Result<Self::Answer, AggregateError<Self::Error>>) -> Self::Given;
}

impl<T, R> Answers<T> for Vec<R> {
    type Answer = R;
    type Error = Infallible;
    type Given = R;
    type Asked = usize;

    fn ask(args: &[T]) -> usize {
        args.len()
    }

    fn deal(self, asked: usize) -> Result<Self, AggregateError<Infallible>> {
        match self.len() {
            got if got == asked => Ok(self),
            got => Err(AggregateError::WrongLength { asked, got }),
        }
    }

    fn give(outcome: Result<R, AggregateError<Infallible>>) -> R {
        outcome.unwrap_or_else(|error| error.raise())
    }
}

impl<T, R, S> Answers<T> for HashMap<T, R, S>
where
    T: Hash + Eq + Clone + Send,
    R: Clone,
    S: BuildHasher,
{
    type Answer = Option<R>;
    type Error = Infallible;
    type Given = Option<R>;
    type Asked = Vec<T>;

    fn ask(args: &[T]) -> Vec<T> {
        args.to_vec()
    }

    fn deal(mut self, asked: Vec<T>) -> Result<Vec<Option<R>>, AggregateError<Infallible>> {
        // The last of equal arguments takes the answer, the others have clones.
        let mut last = HashMap::<&T, usize, ahash::RandomState>::default();
        last.reserve(asked.len());
        for (index, arg) in asked.iter().enumerate() {
            last.insert(arg, index);
        }
        let mut answers = Vec::with_capacity(asked.len());
        for (index, arg) in asked.iter().enumerate() {
            answers.push(match last.get(arg) {
                Some(last) if *last == index => self.remove(arg),
                _ => self.get(arg).cloned(),
            });
        }
        Ok(answers)
    }

    fn give(outcome: Result<Option<R>, AggregateError<Infallible>>) -> Option<R> {
        outcome.unwrap_or_else(|error| error.raise())
    }
}

impl<T, A, E> Answers<T> for Result<A, E>
where
    A: Answers<T, Error = Infallible>,
{
    type Answer = A::Answer;
    type Error = E;
    type Given = Result<A::Answer, AggregateError<E>>;
    type Asked = A::Asked;

    fn ask(args: &[T]) -> A::Asked {
        A::ask(args)
    }

    fn deal(self, asked: A::Asked) -> Result<Vec<A::Answer>, AggregateError<E>> {
        match self {
            Ok(answers) => answers.deal(asked).map_err(|error| match error {
                AggregateError::WrongLength { asked, got } => {
                    AggregateError::WrongLength { asked, got }
                }
                _ => unreachable!("a wrong length is all that can be wrong with answers"),
            }),
            Err(error) => Err(AggregateError::Batch(std::sync::Arc::new(error))),
        }
    }

    fn give(outcome: Result<A::Answer, AggregateError<E>>) -> Result<A::Answer, AggregateError<E>> {
        outcome
    }
}
