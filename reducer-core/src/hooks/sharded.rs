//! One of a thing for each few threads, so that counting does not become what threads wait for.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

const SLOTS: usize = 16;

/// Alone on its cache lines.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Slot<T>(T);

#[derive(Debug, Default)]
pub(super) struct Sharded<T>([Slot<T>; SLOTS]);

impl<T> Sharded<T> {
    /// The one for this thread.
    pub(super) fn here(&self) -> &T {
        static THREADS: AtomicUsize = AtomicUsize::new(0);
        thread_local! {
            static INDEX: Cell<usize> = const { Cell::new(usize::MAX) };
        }
        let index = INDEX.try_with(|index| {
            if index.get() == usize::MAX {
                // Relaxed: threads are dealt out, no more.
                index.set(THREADS.fetch_add(1, Ordering::Relaxed) % SLOTS);
            }
            index.get()
        });
        &self.0[index.unwrap_or(0)].0
    }

    pub(super) fn each(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|slot| &slot.0)
    }
}
