//! A flight's place in a table: rows hang on each other, so that to enter or to leave takes no memory.
//!
//! # Law
//! A flight has one row, made with it, and a row is in one chain at most. What comes after a row is touched only by
//! who has its chain to themselves: `&mut Chain`, which the table gives under its lock.
//!
//! # Why
//! A hash table of holds was there before, of a well-kept crate: rows were found by control bytes and groups of them. A
//! row that is the flight's own is linked and unlinked by a few writes. DESIGN.md has the figures.
#![allow(unsafe_code, reason = "a list through the flights; the module's text says what that buys")]

use std::mem;
use std::ptr;

use super::{Hold, same};
use crate::sync::UnsafeCell;

/// What comes after a flight's row.
pub(super) struct Next(UnsafeCell<Option<Hold>>);

// SAFETY: it is touched only through the one chain that the flight's row is in, by who has that to themselves.
unsafe impl Sync for Next {}

impl Next {
    pub(super) fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// The place where the next hold is.
    ///
    /// # Safety
    /// To be used only by who has the chain to themselves.
    #[inline(always)]
    unsafe fn place(&self) -> *mut Option<Hold> {
        self.0.with_mut(|next| next)
    }
}

/// A hold that is to be a row, or was one. There is one for each flight, made by its launch.
pub(crate) struct Row(pub(super) Hold);

impl Row {
    #[inline(always)]
    pub(crate) fn hash(&self) -> u32 {
        self.0.core().hash
    }

    #[inline(always)]
    pub(crate) fn into_hold(self) -> Hold {
        self.0
    }
}

/// Rows, the latest first.
#[derive(Default)]
pub(crate) struct Chain(Option<Hold>);

impl Chain {
    #[inline(always)]
    pub(crate) fn push(&mut self, row: Row) {
        let flight = row.0.as_ptr();
        let rest = self.0.replace(row.0);
        // SAFETY: the row is in this chain now, and was in none: nothing came after it, and nothing is written over.
        unsafe { ptr::write((*flight).next.place(), rest) };
    }

    /// The flights in it.
    #[inline(always)]
    pub(crate) fn iter(&mut self) -> impl Iterator<Item = &Hold> {
        let mut next = self.0.as_ref();
        std::iter::from_fn(move || {
            let flight = next?;
            // SAFETY: nothing is linked or unlinked while the chain is borrowed.
            next = unsafe { (*flight.core().next.place()).as_ref() };
            Some(flight)
        })
    }

    /// Takes out the row of this very flight.
    #[inline(always)]
    pub(crate) fn remove(&mut self, flight: &Hold) -> Option<Row> {
        let mut place: *mut Option<Hold> = &mut self.0;
        // SAFETY: the places are those of this chain, which is ours; one is followed before it is written.
        unsafe {
            while !same((*place).as_ref()?, flight) {
                place = (*place).as_ref()?.core().next.place();
            }
            let rest = mem::take(&mut *flight.core().next.place());
            mem::replace(&mut *place, rest).map(Row)
        }
    }

    /// Takes out any of them.
    pub(crate) fn pop(&mut self) -> Option<Row> {
        let first = self.0.take()?;
        // SAFETY: it was in this chain until now.
        self.0 = mem::take(unsafe { &mut *first.core().next.place() });
        Some(Row(first))
    }
}

impl Drop for Chain {
    /// One after the other: a chain may be long.
    fn drop(&mut self) {
        while self.pop().is_some() {}
    }
}
