//! Why a call got no answer from its batch.

use std::error::Error;
use std::fmt;
use std::sync::Arc;

use crate::error::{Panicked, SharedError};

/// Why a call got no answer from its batch. `E` is the error of the batch function.
///
/// Every variant's text says what to do next.
///
/// ```
/// use reducer_core::AggregateError;
///
/// let short: AggregateError<std::io::Error> = AggregateError::WrongLength { asked: 3, got: 2 };
/// assert!(short.to_string().starts_with("the batch function was asked for 3 answers and gave 2"));
/// ```
#[non_exhaustive]
pub enum AggregateError<E> {
    /// The batch function returned this error. Everybody in the batch has the same one.
    Batch(Arc<E>),
    /// The batch function ended and had not [`set`](crate::Slot::set) this call's slot.
    NotSet,
    /// The batch function gave more or fewer answers than it was asked for, so nobody can tell whose is whose.
    WrongLength {
        /// The length of the `Vec` that the function was given.
        asked: usize,
        /// The length of the `Vec` that it returned.
        got: usize,
    },
    /// The batch function panicked before it had answered this call.
    Panicked(Panicked),
    /// As many calls as `max_waiting` allows wait already. This one was never in a batch.
    Full,
    /// The runtime that carried the batch was shut down, or the call was made outside of any.
    Closed,
}

impl<E> Clone for AggregateError<E> {
    fn clone(&self) -> Self {
        match self {
            Self::Batch(error) => Self::Batch(Arc::clone(error)),
            Self::NotSet => Self::NotSet,
            Self::WrongLength { asked, got } => Self::WrongLength { asked: *asked, got: *got },
            Self::Panicked(panicked) => Self::Panicked(panicked.clone()),
            Self::Full => Self::Full,
            Self::Closed => Self::Closed,
        }
    }
}

impl<E: fmt::Debug> fmt::Debug for AggregateError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(error) => f.debug_tuple("Batch").field(error).finish(),
            Self::NotSet => f.write_str("NotSet"),
            Self::WrongLength { asked, got } => {
                f.debug_struct("WrongLength").field("asked", asked).field("got", got).finish()
            }
            Self::Panicked(panicked) => f.debug_tuple("Panicked").field(panicked).finish(),
            Self::Full => f.write_str("Full"),
            Self::Closed => f.write_str("Closed"),
        }
    }
}

impl<E> fmt::Display for AggregateError<E> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Batch(_) => f.write_str(
                "the batch function failed, and all of its batch with it; see the source, and call again if that may pass",
            ),
            Self::NotSet => f.write_str(
                "the batch function ended without an answer to this call; `set` every slot on every way out",
            ),
            Self::WrongLength { asked, got } => write!(
                f,
                "the batch function was asked for {asked} answers and gave {got}, so nobody gets a neighbour's; return one for each argument, in order, or a `HashMap`",
            ),
            Self::Panicked(panicked) => panicked.fmt(f),
            Self::Full => f.write_str(
                "as many calls wait as `max_waiting` allows; shed this one, or raise the limit",
            ),
            Self::Closed => f.write_str(
                "there is no tokio runtime here, or the one that ran this batch was shut down; call again from one that lives",
            ),
        }
    }
}

impl<E: Error + 'static> Error for AggregateError<E> {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        match self {
            Self::Batch(error) => Some(&**error),
            _ => None,
        }
    }
}

impl<E> AggregateError<E> {
    /// Panics, for a function that has no `Result` to say it in: with the batch function's own message if it was that
    /// which panicked.
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn raise(self) -> ! {
        match self {
            Self::Panicked(panicked) => panicked.resume(),
            other => panic!("{other}"),
        }
    }
}

/// The batch's own error, as it is; or why there is none.
impl From<AggregateError<SharedError>> for SharedError {
    fn from(error: AggregateError<SharedError>) -> Self {
        match error {
            AggregateError::Batch(error) => SharedError::clone(&error),
            other => other.to_string().into(),
        }
    }
}
