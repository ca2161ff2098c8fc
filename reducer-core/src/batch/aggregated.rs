//! The batches of a method under `#[aggregate]`: a field of the object.

use std::any::TypeId;
use std::convert::Infallible;
use std::fmt;
use std::future::{Future, poll_fn};
use std::hash::Hash;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::task::Poll;

use tokio::runtime::Handle;

use super::aggregator::AggregateStats;
use super::answers::Answers;
use super::call::Seated;
use super::carrier::Carrier;
use super::core::{Admission, Asking, Core, Options};
use super::error::AggregateError;
use super::slot::Slot;

/// The open batches of a method under [`#[aggregate]`](macro@crate::aggregate): a field of the object, so that
/// two instances never share a batch. `in = self.users` names it.
///
/// `T` is an argument, `R` what a caller gets of an answer (`Option<V>` where the method returns a
/// `HashMap<T, V>`), `E` the error that the batch may fail with, and `G` the `#[group]` parameters: the only one, or a
/// tuple of them. Clones are the same batches, so the clones of one object share them. The options are the
/// attribute's; two methods may name one field, and do not meet.
///
/// ```
/// # #[cfg(feature = "macros")] mod example {
/// use reducer_core::{Aggregated, aggregate};
///
/// #[derive(Clone, Default)]
/// struct Users {
///     names: Aggregated<u64, String>,
/// }
///
/// impl Users {
///     #[aggregate(leeway = "5ms", in = self.names)]
///     async fn name(&self, ids: Vec<u64>) -> Vec<String> {
///         ids.iter().map(|id| format!("user {id}")).collect()
///     }
/// }
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # pub async fn main() {
/// let users = Users::default();
/// let (a, b) = tokio::join!(users.name(7), users.name(8));
/// assert_eq!((a.as_str(), b.as_str()), ("user 7", "user 8"));
/// assert_eq!(users.names.stats().batches, 1);
/// # }
/// # }
/// # #[cfg(feature = "macros")] fn main() { example::main() }
/// # #[cfg(not(feature = "macros"))] fn main() {}
/// ```
pub struct Aggregated<T, R, E = Infallible, G = ()>(Arc<Core<G, T, R, E>>);

impl<T, R, E, G> Aggregated<T, R, E, G> {
    /// No batch yet.
    #[must_use]
    pub fn new() -> Self {
        Self(Arc::new(Core::new(None)))
    }

    /// The counts as they are now, over all groups.
    #[must_use]
    pub fn stats(&self) -> AggregateStats {
        self.0.stats()
    }

    /// The open batches, of all groups, wait for no more calls.
    pub fn flush(&self) {
        drop(self.0.flush());
    }

    async fn call<L>(
        &self,
        options: Options,
        site: TypeId,
        arg: T,
        group: G,
        launch: L,
    ) -> Result<R, AggregateError<E>>
    where
        G: Hash + Eq + 'static,
        L: FnOnce(Carrier<G, T, R, E>, &Handle),
    {
        let waker = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
        let asking = Asking { arg, hash: 0, waker };
        let mut seated = match self.0.admit(&options, Some(site), group, asking) {
            Admission::Joined(ticket) => Seated::new(ticket, 0),
            Admission::Opened(ticket, carrier, handle) => {
                let seated = Seated::new(ticket, 0);
                launch(carrier, &handle);
                seated
            }
            Admission::Refused(error) => return Err(error),
        };
        poll_fn(|cx| seated.poll(cx)).await
    }
}

impl<T, R, E, G> Default for Aggregated<T, R, E, G> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T, R, E, G> Clone for Aggregated<T, R, E, G> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T, R, E, G> fmt::Debug for Aggregated<T, R, E, G> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Aggregated").field("stats", &self.stats()).finish()
    }
}

/// The options of an attribute.
#[derive(Clone, Copy, Debug)]
pub struct Terms(pub(super) Options);

/// As the attribute says them; `None` is what it does not say. Its literals are not zero; an expression may be.
#[must_use]
#[track_caller]
pub fn terms(
    leeway: Option<std::time::Duration>,
    max_count: Option<usize>,
    max_concurrent: Option<usize>,
    max_waiting: Option<usize>,
) -> Terms {
    let mut builder = super::Aggregator::builder();
    if let Some(leeway) = leeway {
        builder = builder.leeway(leeway);
    }
    if let Some(max_count) = max_count {
        builder = builder.max_count(max_count);
    }
    if let Some(max_concurrent) = max_concurrent {
        builder = builder.max_concurrent(max_concurrent);
    }
    if let Some(max_waiting) = max_waiting {
        builder = builder.max_waiting(max_waiting);
    }
    Terms(builder.options())
}

/// A call of a function that returns its answers. `work` is built by the call that opens a batch, and only there.
pub async fn answered<C, T, G, A, L, W, Fut>(
    aggregated: &Aggregated<T, A::Answer, A::Error, G>,
    terms: Terms,
    _site: &C,
    arg: T,
    group: G,
    work: L,
) -> A::Given
where
    C: 'static,
    T: Send + 'static,
    G: Hash + Eq + Clone + Send + Sync + 'static,
    A: Answers<T, Answer: Send + 'static, Error: Send + Sync + 'static> + 'static,
    L: FnOnce() -> W,
    W: FnOnce(Vec<T>, G) -> Fut + Send + 'static,
    Fut: Future<Output = A> + Send + 'static,
{
    let launch = |mut carrier: Carrier<G, T, A::Answer, A::Error>, handle: &Handle| {
        // It clones the object, which is the user's code: the others who have joined must hear of its panic.
        match catch_unwind(AssertUnwindSafe(work)) {
            Ok(work) => drop(handle.spawn(carrier.carry(work, None))),
            Err(payload) => carrier.wreck(payload),
        }
    };
    A::give(aggregated.call(terms.0, TypeId::of::<C>(), arg, group, launch).await)
}

/// A call of a function that sets slots.
pub async fn slotted<C, T, R, G, O, L, W, Fut>(
    aggregated: &Aggregated<T, R, O::Error, G>,
    terms: Terms,
    _site: &C,
    arg: T,
    group: G,
    work: L,
) -> Result<R, AggregateError<O::Error>>
where
    C: 'static,
    T: Send + 'static,
    R: Send + 'static,
    G: Hash + Eq + Clone + Send + Sync + 'static,
    O: SlotsOutcome<Error: Send + Sync + 'static> + 'static,
    L: FnOnce() -> W,
    W: FnOnce(Vec<Slot<T, R>>, G) -> Fut + Send + 'static,
    Fut: Future<Output = O> + Send + 'static,
{
    let launch = |mut carrier: Carrier<G, T, R, O::Error>, handle: &Handle| match catch_unwind(
        AssertUnwindSafe(work),
    ) {
        Ok(work) => drop(handle.spawn(carrier.carry_slots(work, None, O::failure))),
        Err(payload) => carrier.wreck(payload),
    };
    aggregated.call(terms.0, TypeId::of::<C>(), arg, group, launch).await
}

/// What a function of slots returns: nothing, or `Result<(), E>`.
#[diagnostic::on_unimplemented(
    message = "a batch function of slots answers through them, and returns nothing else",
    label = "return nothing here, or `Result<(), E>`"
)]
pub trait SlotsOutcome {
    /// What the batch fails with.
    type Error;

    /// The failure, if it is one.
    fn failure(self) -> Option<Self::Error>;
}

impl SlotsOutcome for () {
    type Error = Infallible;

    fn failure(self) -> Option<Infallible> {
        None
    }
}

impl<E> SlotsOutcome for Result<(), E> {
    type Error = E;

    fn failure(self) -> Option<E> {
        self.err()
    }
}
