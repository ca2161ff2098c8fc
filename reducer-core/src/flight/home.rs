//! Where a flight is at home: the runtime of the first to wait for it in one. It can have a task of its own
//! there, and threads that are in none poll it there.
//!
//! # Law
//! It belongs to who has the flight's lock. But while the word says that a leader is `GOING` it is that leader's, which was
//! alone when it said so: whoever has joined since sees it, and leaves this alone.
//!
//! # Why
//! It was under the lock. But a leader that is alone waits without the lock, and has to say where it is before: nobody
//! else could find out if it is never polled again.
#![allow(
    unsafe_code,
    reason = "a cell with two owners in turn; the module's text says what that buys"
)]

use super::host::Home;
use crate::sync::UnsafeCell;

/// See the module.
pub(super) struct HomeCell(UnsafeCell<Option<Home>>);

// SAFETY: all that gives access asks for the proof that it is the caller's, who hands it on through the word or the lock.
unsafe impl Sync for HomeCell {}

impl HomeCell {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// # Safety
    /// It is the caller's, as the module has it, and `act` does not come back here.
    #[inline(always)]
    pub(super) unsafe fn with<U>(&self, act: impl FnOnce(&mut Option<Home>) -> U) -> U {
        // SAFETY: as asked for.
        self.0.with_mut(|home| act(unsafe { &mut *home }))
    }
}

/// Notes where we are, unless that is known. Whether we are at home, if the flight has one. One that parks its thread in
/// between may park the very thread that the flight's task needs: it is nowhere at home.
#[inline(always)]
pub(super) fn arrive(home: &mut Option<Home>, parks: bool) -> Option<bool> {
    let is_news = home.is_none();
    if is_news {
        *home = Home::here();
    }
    home.as_ref().map(|home| !parks && (is_news || home.is_here()))
}
