//! What a reducer tells of itself: who came, who led, who joined, and how each flight ended.
//!
//! # Law
//! Hooks are called under no lock of this crate. They may call the reducer, and may panic: the panic is
//! reported by the panic hook and goes no further.
//!
//! Every call that gets a place in a flight is one `on_apply`, followed by one `on_executing` (it leads) or one
//! `on_reducing` (it joined). Every flight ends with exactly one of `on_result`, `on_error` and `on_cancelled`,
//! before any of its callers can see the outcome.

use std::any::Any;
use std::cell::Cell;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

mod debug;
#[cfg(feature = "metrics")]
mod metrics;
mod sharded;
pub(crate) mod shown;
mod statistics;

pub use debug::DebugHooks;
#[cfg(feature = "metrics")]
#[cfg_attr(docsrs, doc(cfg(feature = "metrics")))]
pub use metrics::MetricsHooks;
pub use statistics::{StatisticsDetailHooks, StatisticsOverallHooks};

use crate::error::ReduceError;
use crate::flight::quietly;
use crate::reducer::Role;

/// Told of what happens in a [`Reducer`](crate::Reducer). Mirrors the hooks of Python's `async-reduce`, and has
/// the end that those lack: a flight whose callers have all left.
///
/// All methods do nothing unless overridden. Given to
/// [`ReducerBuilder::hooks`](crate::ReducerBuilder::hooks), or to [`set_global_hooks`](crate::set_global_hooks).
///
/// Each is called with no lock held, on the thread of whoever caused it, and may call the reducer. It may
/// panic: no flight is harmed. It should be quick, for a call waits for it: hooks that need time should hand
/// what they learn to somebody else.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use reducer_core::{Call, Hooks, Reducer};
/// use std::sync::{Arc, Mutex};
///
/// #[derive(Default)]
/// struct Log(Mutex<Vec<String>>);
///
/// impl Hooks for Log {
///     fn on_executing(&self, call: &Call<'_>) {
///         self.0.lock().unwrap().push(format!("{} leads", call.key()));
///     }
///     fn on_result(&self, call: &Call<'_>) {
///         self.0.lock().unwrap().push(format!("{} joined", call.followers()));
///     }
/// }
///
/// let log = Arc::new(Log::default());
/// let reducer = Reducer::builder().hooks(Arc::clone(&log)).build();
/// let query = || async { tokio::task::yield_now().await; "row" };
/// tokio::join!(reducer.reduce(7, query()), reducer.reduce(7, query()));
/// assert_eq!(*log.0.lock().unwrap(), ["7 leads", "1 joined"]);
/// # }
/// ```
pub trait Hooks: Send + Sync + 'static {
    /// A call got a place in a flight. One of `on_executing` and `on_reducing` follows at once.
    fn on_apply(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// The call leads a new flight: its work is about to run.
    fn on_executing(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// The call joined a flight: its own work is not run.
    fn on_reducing(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// The flight came to a value, other than an `Err`.
    fn on_result(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// The flight came to an `Err`, panicked, or took too long; [`Call::error`] tells the last two from the first.
    fn on_error(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// The flight was dropped: all its callers had left, or its runtime is gone.
    fn on_cancelled(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// The call got no place, for the flight is full ([`ReduceError::Overloaded`]). It is not counted by
    /// `on_apply`.
    fn on_refused(&self, call: &Call<'_>) {
        let _ = call;
    }

    /// Whether [`Call::elapsed`] and the final [`Call::followers`] are wanted, which cost each flight a look at the
    /// clock and a lock. Asked once, when the reducer is built. Where nobody wants them the time is zero, and a
    /// follower may come between the count and the landing.
    fn measures(&self) -> bool {
        true
    }

    /// Whether these never panic and never call a reducer: a flight is spared the precautions.
    #[doc(hidden)]
    fn is_harmless(&self) -> bool {
        false
    }

    /// These hooks, then `other`.
    fn and<H: Hooks>(self, other: H) -> And<Self, H>
    where
        Self: Sized,
    {
        And(self, other)
    }
}

/// Two hooks, one after the other; see [`Hooks::and`].
#[derive(Clone, Copy, Debug, Default)]
pub struct And<A, B>(A, B);

macro_rules! each_event {
    ($each:ident) => {
        $each! { on_apply on_executing on_reducing on_result on_error on_cancelled on_refused }
    };
}

macro_rules! both {
    ($($event:ident)*) => {
        impl<A: Hooks, B: Hooks> Hooks for And<A, B> {
            $(fn $event(&self, call: &Call<'_>) {
                // The second is not to miss what the first could not bear.
                quietly(|| self.0.$event(call));
                self.1.$event(call);
            })*

            fn measures(&self) -> bool {
                self.0.measures() || self.1.measures()
            }

            fn is_harmless(&self) -> bool {
                self.0.is_harmless() && self.1.is_harmless()
            }
        }
    };
}
each_event!(both);

macro_rules! forward {
    ($($event:ident)*) => {
        impl<H: Hooks + ?Sized> Hooks for Arc<H> {
            $(fn $event(&self, call: &Call<'_>) {
                (**self).$event(call);
            })*

            fn measures(&self) -> bool {
                (**self).measures()
            }

            fn is_harmless(&self) -> bool {
                (**self).is_harmless()
            }
        }

        impl<H: Hooks + ?Sized> Hooks for Box<H> {
            $(fn $event(&self, call: &Call<'_>) {
                (**self).$event(call);
            })*

            fn measures(&self) -> bool {
                (**self).measures()
            }

            fn is_harmless(&self) -> bool {
                (**self).is_harmless()
            }
        }
    };
}
each_event!(forward);

/// What a hook is told. The events of a flight itself (`on_result`, `on_error`, `on_cancelled`) are told as its
/// leader's.
#[derive(Clone, Copy)]
pub struct Call<'a> {
    pub(crate) of: &'a dyn Told,
    pub(crate) role: Role,
    pub(crate) end: End<'a>,
}

/// What hooks are told of: a flight, or a batch. Asked only for what they ask for.
pub(crate) trait Told {
    fn function(&self) -> &'static str;
    fn number(&self) -> u64;
    fn elapsed(&self) -> Duration;
    fn followers(&self) -> usize;
    fn key(&self) -> Option<&dyn Any>;
    fn show_key(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result;
}

/// What a flight came to.
#[derive(Clone, Copy)]
pub(crate) enum End<'a> {
    NotYet,
    /// A batch has no value of its own.
    Value(Option<&'a dyn Any>),
    /// A value that is an `Err`.
    Err(Option<&'a dyn Any>),
    Failed(&'a ReduceError),
    Dropped,
}

impl End<'_> {
    pub(crate) fn name(self) -> &'static str {
        match self {
            End::NotYet => "flying",
            End::Value(_) => "value",
            End::Err(_) => "error",
            End::Failed(ReduceError::Panicked(_)) => "panic",
            End::Failed(ReduceError::TimedOut(_)) => "timeout",
            End::Dropped | End::Failed(_) => "cancelled",
        }
    }
}

impl<'a> Call<'a> {
    /// The path of the function: of the one under `#[reduceable]`, or of the async function or block, or the
    /// closure, that a call by hand was given. Names may differ between compilers; they are for people.
    #[must_use]
    pub fn function(&self) -> &'static str {
        self.of.function()
    }

    /// The flight's number: no two flights of a reducer have the same.
    #[must_use]
    pub fn flight(&self) -> u64 {
        self.of.number()
    }

    /// What the call is to its flight.
    #[must_use]
    pub fn role(&self) -> Role {
        self.role
    }

    /// The key. It is shown if it is a number, a string or the like, or arguments that are; what cannot be
    /// shown reads `_`.
    #[must_use]
    pub fn key(&self) -> Shown<'a> {
        Shown { what: self.of.key().unwrap_or(&()), show: Show::Key(self.of) }
    }

    /// How long the flight has taken so far; its whole time, at its end. By tokio's clock if that is there.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.of.elapsed()
    }

    /// How many calls have joined the flight so far; all that ever did, at its end.
    #[must_use]
    pub fn followers(&self) -> usize {
        self.of.followers()
    }

    /// The value that the flight came to, `Err` included.
    #[must_use]
    pub fn value(&self) -> Option<Shown<'a>> {
        match self.end {
            End::Value(value) | End::Err(value) => value.map(Shown::of),
            _ => None,
        }
    }

    /// Why the flight came to no value: a panic, a time-out, a runtime that is gone.
    #[must_use]
    pub fn error(&self) -> Option<&'a ReduceError> {
        match self.end {
            End::Failed(error) => Some(error),
            _ => None,
        }
    }
}

impl fmt::Debug for Call<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("function", &self.function())
            .field("flight", &self.flight())
            .field("role", &self.role)
            .field("key", &self.key())
            .field("elapsed", &self.elapsed())
            .field("followers", &self.followers())
            .field("value", &self.value())
            .field("error", &self.error())
            .finish()
    }
}

/// A key or a value whose type is forgotten. `Display` and `Debug` show what can be shown.
#[derive(Clone, Copy)]
pub struct Shown<'a> {
    what: &'a dyn Any,
    show: Show<'a>,
}

#[derive(Clone, Copy)]
enum Show<'a> {
    Value,
    Key(&'a dyn Told),
}

impl<'a> Shown<'a> {
    pub(crate) fn of(value: &'a dyn Any) -> Self {
        Self { what: value, show: Show::Value }
    }

    /// The thing itself, for who knows its type. The key of a `#[reduceable]` function is the owned form of its
    /// key argument, or the tuple of them.
    #[must_use]
    pub fn as_any(&self) -> &'a dyn Any {
        self.what
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.show {
            Show::Value => shown::any(self.what, f),
            Show::Key(of) => of.show_key(f),
        }
    }
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// All hooks of a reducer, in the order in which they were given.
#[derive(Clone, Default)]
pub(crate) struct AllHooks {
    each: Vec<Arc<dyn Hooks>>,
    measure: bool,
    /// Some are not harmless.
    wild: bool,
}

impl AllHooks {
    pub(crate) fn push(&mut self, hooks: impl Hooks) {
        self.measure |= hooks.measures();
        self.wild |= !hooks.is_harmless();
        self.each.push(Arc::new(hooks));
    }

    pub(crate) fn extend(&mut self, hooks: Option<impl Hooks>) {
        if let Some(hooks) = hooks {
            self.push(hooks);
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.each.is_empty()
    }

    pub(crate) fn measures(&self) -> bool {
        self.measure
    }

    pub(crate) fn is_harmless(&self) -> bool {
        !self.wild
    }

    /// A call got a place.
    pub(crate) fn placed(&self, call: &Call<'_>) {
        match call.role {
            Role::Led => {
                self.tell([|to, call| to.on_apply(call), |to, call| to.on_executing(call)], call)
            }
            Role::Joined => {
                self.tell([|to, call| to.on_apply(call), |to, call| to.on_reducing(call)], call)
            }
        }
    }

    pub(crate) fn refused(&self, call: &Call<'_>) {
        self.tell([|to, call| to.on_refused(call)], call);
    }

    /// A flight is at its end.
    pub(crate) fn ended(&self, call: &Call<'_>) {
        match call.end {
            End::NotYet => {}
            End::Value(_) => self.tell([|to, call| to.on_result(call)], call),
            End::Dropped | End::Failed(ReduceError::Cancelled(_)) => {
                self.tell([|to, call| to.on_cancelled(call)], call);
            }
            End::Err(_) | End::Failed(_) => self.tell([|to, call| to.on_error(call)], call),
        }
    }

    /// Each of the events to each of the hooks. What one cannot bear, the next is told all the same.
    #[inline]
    fn tell<const N: usize>(&self, events: [Event; N], call: &Call<'_>) {
        if !self.wild {
            self.each
                .iter()
                .for_each(|hooks| events.iter().for_each(|event| event(&**hooks, call)));
            return;
        }
        let told = Cell::new(0);
        while told.get() < N * self.each.len() {
            quietly(|| {
                while let Some(hooks) = self.each.get(told.get() / N) {
                    let event = events[told.get() % N];
                    told.set(told.get() + 1);
                    event(&**hooks, call);
                }
            });
        }
    }
}

type Event = fn(&dyn Hooks, &Call<'_>);

impl fmt::Debug for AllHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AllHooks").field("count", &self.each.len()).finish()
    }
}
