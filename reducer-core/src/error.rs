//! What can go wrong with a call, and an error that many callers can hold at once.

use std::any::Any;
use std::error::Error;
use std::fmt;
use std::panic;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

mod shared;

pub use shared::SharedError;

/// Why a call got no value from its flight.
///
/// `try_reduce` returns it; `reduce` panics with it. Every variant's text names the function (or the
/// key's type) and says what to do next.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ReduceError {
    /// The work panicked. Everybody who had joined gets this; the key is free again.
    Panicked(Panicked),
    /// The flight took longer than the reducer's `timeout`.
    TimedOut(TimedOut),
    /// Waiting would never end: the flight waits, directly or through others, on this very call.
    Reentrant(Reentrant),
    /// As many followers as `max_followers` allows are waiting on this flight already.
    Overloaded(Overloaded),
    /// The runtime that carried the flight was shut down, and the work could not go on elsewhere.
    Cancelled(Cancelled),
    /// The reducer was built with an option that needs a tokio runtime, and there is none here.
    NoRuntime(NoRuntime),
}

impl ReduceError {
    /// Panics the way `reduce` does: with the work's own message if it was the work that panicked.
    pub(crate) fn raise(self) -> ! {
        match self {
            Self::Panicked(panicked) => panicked.resume(),
            other => panic!("{other}"),
        }
    }
}

impl fmt::Display for ReduceError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Panicked(e) => e.fmt(f),
            Self::TimedOut(e) => e.fmt(f),
            Self::Reentrant(e) => e.fmt(f),
            Self::Overloaded(e) => e.fmt(f),
            Self::Cancelled(e) => e.fmt(f),
            Self::NoRuntime(e) => e.fmt(f),
        }
    }
}

impl Error for ReduceError {}

/// The work panicked; this is what it said.
#[derive(Clone)]
pub struct Panicked(Arc<Wreck>);

struct Wreck {
    flight: String,
    message: String,
    /// What is so now, and what to do.
    advice: &'static str,
    /// The first caller to panic takes the payload itself, whatever its type; the rest have the text.
    payload: Mutex<Option<Box<dyn Any + Send>>>,
}

impl Panicked {
    pub(crate) fn new(flight: String, payload: Box<dyn Any + Send>) -> Self {
        Self::with_advice(flight, payload, "the key is free, the next call starts afresh")
    }

    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn of_a_batch(function: String, payload: Box<dyn Any + Send>) -> Self {
        Self::with_advice(function, payload, "the next batch is unharmed, call again")
    }

    fn with_advice(flight: String, payload: Box<dyn Any + Send>, advice: &'static str) -> Self {
        let message = message_of(payload.as_ref());
        Self(Arc::new(Wreck { flight, message, advice, payload: Mutex::new(Some(payload)) }))
    }

    /// The panic's message. A payload that is no string is described as such.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Goes on with the panic in the caller's thread. The panic hook ran where the work panicked and
    /// does not run again for each of a thousand callers.
    pub(crate) fn resume(self) -> ! {
        let payload = self.0.payload.lock().unwrap_or_else(PoisonError::into_inner).take();
        let payload = payload.unwrap_or_else(|| Box::new(self.0.message.clone()));
        drop(self);
        panic::resume_unwind(payload)
    }
}

/// What a panic said.
pub(crate) fn message_of(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic whose payload is not a string".to_owned()
    }
}

impl fmt::Debug for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Panicked").field("message", &self.0.message).finish_non_exhaustive()
    }
}

impl fmt::Display for Panicked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Wreck { flight, message, advice, .. } = &*self.0;
        write!(f, "{flight} panicked: {message}; {advice}")
    }
}

impl Error for Panicked {}

/// The flight took longer than it was given.
#[derive(Clone, Debug)]
pub struct TimedOut(Arc<(String, Duration)>);

impl TimedOut {
    pub(crate) fn new(flight: String, after: Duration) -> Self {
        Self(Arc::new((flight, after)))
    }

    /// The time the flight was given, from its start.
    #[must_use]
    pub fn after(&self) -> Duration {
        self.0.1
    }
}

impl fmt::Display for TimedOut {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flight, after) = &*self.0;
        write!(
            f,
            "{flight} was not done after {after:?} and was dropped; raise `timeout`, or retry"
        )
    }
}

impl Error for TimedOut {}

/// A flight that waits on itself.
#[derive(Clone, Debug)]
pub struct Reentrant(Arc<[String]>);

impl Reentrant {
    pub(crate) fn new(ring: Vec<String>) -> Self {
        Self(ring.into())
    }

    /// The flights of the ring, each waiting on the next; the last is the first again.
    pub fn ring(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(String::as_str)
    }
}

impl fmt::Display for Reentrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("this call would wait on itself: ")?;
        f.write_str(&self.0.join(" -> "))?;
        f.write_str("; call the inner work directly instead of through its reducer")
    }
}

impl Error for Reentrant {}

/// Too many callers wait on one flight.
#[derive(Clone, Debug)]
pub struct Overloaded(Arc<(String, usize)>);

impl Overloaded {
    pub(crate) fn new(flight: String, limit: usize) -> Self {
        Self(Arc::new((flight, limit)))
    }

    /// The `max_followers` that was reached.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.0.1
    }
}

impl fmt::Display for Overloaded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flight, limit) = &*self.0;
        write!(f, "{flight} has {limit} followers, all that `max_followers` allows; ")?;
        f.write_str("shed this call, or raise the limit")
    }
}

impl Error for Overloaded {}

/// The flight lost the runtime it ran on.
#[derive(Clone, Debug)]
pub struct Cancelled(Arc<(String, String)>);

impl Cancelled {
    pub(crate) fn new(flight: String, reason: String) -> Self {
        Self(Arc::new((flight, reason)))
    }

    /// What stopped the work when another caller tried to go on with it.
    #[must_use]
    pub fn reason(&self) -> &str {
        &self.0.1
    }
}

impl fmt::Display for Cancelled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (flight, reason) = &*self.0;
        write!(f, "the runtime that ran {flight} was shut down, and the work could not go on ")?;
        write!(f, "without it ({reason}); call again from a runtime that lives")
    }
}

impl Error for Cancelled {}

/// An option of the reducer asks for a tokio runtime, and the call came from outside of any.
#[derive(Clone, Debug)]
pub struct NoRuntime(&'static str);

impl NoRuntime {
    #[cfg(all(feature = "tokio", not(loom)))]
    pub(crate) fn new(option: &'static str) -> Self {
        Self(option)
    }

    /// The option's name: `timeout` or `detached`.
    #[must_use]
    pub fn option(&self) -> &'static str {
        self.0
    }
}

impl fmt::Display for NoRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let option = self.0;
        write!(
            f,
            "this reducer was built with `{option}`, which needs a tokio runtime; make the call "
        )?;
        write!(f, "inside one (`Runtime::block_on`, `#[tokio::main]`) or build without `{option}`")
    }
}

impl Error for NoRuntime {}

/// The hooks of the global reducer could not be set.
#[derive(Clone, Debug)]
pub struct SetHooksError {
    pub(crate) twice: bool,
}

impl SetHooksError {
    /// Whether hooks had been set before; if not, the reducer had been used before.
    #[must_use]
    pub fn is_twice(&self) -> bool {
        self.twice
    }
}

impl fmt::Display for SetHooksError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.twice {
            "the global reducer has hooks already: set them once, and put several together by `Hooks::and`"
        } else {
            "the global reducer has been used already: set its hooks when the program starts, before the first call"
        })
    }
}

impl Error for SetHooksError {}
