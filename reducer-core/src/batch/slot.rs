//! One call in the hands of a batch function that answers each by itself.

use std::fmt;
use std::sync::Arc;

use super::carrier::Dedupe;
use super::core::Batch;

/// One call of a batch: its argument, and where its answer goes.
///
/// A batch function of slots ([`build_slots`](crate::AggregatorBuilder::build_slots)) answers each of its callers
/// by itself and at its own time. Who has no answer when the function ends gets
/// [`AggregateError::NotSet`](crate::AggregateError::NotSet).
///
/// ```
/// # #[tokio::main(flavor = "current_thread", start_paused = true)]
/// # async fn main() {
/// use reducer_core::{AggregateError, Aggregator, Slot};
///
/// let halves = Aggregator::builder().max_count(2).build_slots(|slots: Vec<Slot<u64, u64>>| async move {
///     for slot in slots {
///         if slot.value() % 2 == 0 {
///             slot.set(slot.value() / 2);
///         }
///     }
/// });
/// let (even, odd) = tokio::join!(halves.call(8), halves.call(7));
/// assert_eq!(even.unwrap(), 4);
/// assert!(matches!(odd, Err(AggregateError::NotSet)));
/// # }
/// ```
pub struct Slot<T, R> {
    value: T,
    seat: usize,
    /// Callers with an equal argument.
    twins: Vec<usize>,
    clone: Option<fn(&R) -> R>,
    seats: Arc<dyn Seats<R>>,
}

trait Seats<R>: Send + Sync {
    fn answer(&self, seat: usize, answer: R);
}

impl<G, T, R, E> Seats<R> for Batch<G, T, R, E>
where
    G: Send + Sync,
    T: Send,
    R: Send,
    E: Send + Sync,
{
    fn answer(&self, seat: usize, answer: R) {
        self.slots.answer(seat, answer);
    }
}

impl<T, R> Slot<T, R> {
    pub(crate) fn of<G, E>(
        batch: &Arc<Batch<G, T, R, E>>,
        args: Vec<T>,
        numbers: &[usize],
        dedupe: Option<Dedupe<T, R>>,
    ) -> Vec<Self>
    where
        G: Send + Sync + 'static,
        T: Send + 'static,
        R: Send + 'static,
        E: Send + Sync + 'static,
    {
        let (args, owners) = match dedupe {
            Some(Dedupe { fold, .. }) => fold(args),
            None => (args, Vec::new()),
        };
        let seats: Arc<dyn Seats<R>> = Arc::<Batch<G, T, R, E>>::clone(batch);
        let mut slots: Vec<Self> = (args.into_iter().zip(numbers))
            .map(|(value, seat)| Slot {
                value,
                seat: *seat,
                twins: Vec::new(),
                clone: dedupe.map(|dedupe| dedupe.clone),
                seats: Arc::clone(&seats),
            })
            .collect();
        let mut is_met = vec![false; slots.len()];
        for (owner, seat) in owners.iter().zip(numbers) {
            if std::mem::replace(&mut is_met[*owner], true) {
                slots[*owner].twins.push(*seat);
            } else {
                slots[*owner].seat = *seat;
            }
        }
        slots
    }

    /// The argument of the call. With [`dedupe`](crate::AggregatorBuilder::dedupe), of the first of equal ones.
    #[must_use]
    pub fn value(&self) -> &T {
        &self.value
    }

    /// Answers the call, there and then. The first answer stands; another, or one that comes after the function
    /// has ended, is dropped.
    pub fn set(&self, answer: R) {
        if let Some(clone) = self.clone {
            for twin in &self.twins {
                self.seats.answer(*twin, clone(&answer));
            }
        }
        self.seats.answer(self.seat, answer);
    }
}

impl<T: fmt::Debug, R> fmt::Debug for Slot<T, R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot").field("value", &self.value).finish_non_exhaustive()
    }
}
