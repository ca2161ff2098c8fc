//! Waking: a list of whom, drawn up under the flight's lock, and worked through without it.

use std::sync::Arc;
use std::task::Waker;

use super::host::Home;
use super::waiters::Side;
use super::{Hold, Rows, quietly};

/// How many wakers are taken out of the lock at a time.
const BATCH: usize = 32;

/// Whom to wake. Those who come to wait after it was drawn up are not meant.
#[must_use]
pub(super) struct Calls {
    /// The flight's own task; or who waits, if it is one alone.
    pub(super) first: Option<Waker>,
    pub(super) native: u32,
    pub(super) foreign: u32,
    pub(super) lift: Option<Lift>,
}

/// What it takes to give a flight a task of its own.
pub(super) type Lift = (Home, Arc<Rows>);

impl Calls {
    /// Wakes them, a batch at a time, with the lock free. A waker that panics costs nobody else a wake.
    #[inline]
    pub(super) fn make(mut self, flight: &Hold) {
        if let Some(first) = self.first.take() {
            quietly(|| first.wake());
        }
        // Mostly that is all.
        if self.native + self.foreign > 0 {
            self.make_some(flight);
        }
    }

    fn make_some(mut self, flight: &Hold) {
        let mut batch = [const { None }; BATCH];
        while self.native + self.foreign > 0 {
            let mut places = batch.iter_mut();
            let mut state = flight.core().lock();
            for (left, side) in
                [(&mut self.native, Side::Native), (&mut self.foreign, Side::Foreign)]
            {
                // Who is left when there is no place is called by the next batch.
                while *left > 0 {
                    let Some(place) = places.next() else { break };
                    *place = state.waiters.pop(side);
                    *left = if place.is_some() { *left - 1 } else { 0 };
                }
            }
            drop(state);
            for waker in batch.iter_mut().filter_map(Option::take) {
                quietly(|| waker.wake());
            }
        }
    }

    /// As `make`; and sends the flight's own task off, if it is time for one.
    pub(super) fn make_for(mut self, flight: &Hold) {
        let lift = self.lift.take();
        self.make(flight);
        if let Some((home, rows)) = lift {
            home.carry(flight.clone(), rows);
        }
    }
}
