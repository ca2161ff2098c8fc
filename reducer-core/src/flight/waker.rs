//! The flight's waker: what the work wakes to ask for its next poll.
//!
//! # Why
//! `Waker::from(Arc<Flight<..>>)` needs no `unsafe`. It is compiled for every function in a program that is
//! under the attribute (a fifth of what each of them costs), and it takes a count up and down for every
//! poll, whether or not the work keeps the waker.
#![allow(unsafe_code, reason = "a waker by hand; the module's text says what that buys")]

use std::mem::ManuallyDrop;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::Hold;
use super::phase::notify;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// The waker of a flight for as long as the flight is borrowed: no count is taken unless the work clones it.
pub(crate) fn waker(flight: &Hold) -> BorrowedWaker<'_> {
    // SAFETY: the functions below keep a waker's contract for a hold. This one is never dropped, for no
    // count was taken for it.
    let waker = ManuallyDrop::new(unsafe { Waker::new(flight.address(), &VTABLE) });
    BorrowedWaker { waker, _flight: flight }
}

pub(crate) struct BorrowedWaker<'a> {
    waker: ManuallyDrop<Waker>,
    _flight: &'a Hold,
}

impl BorrowedWaker<'_> {
    pub(crate) fn get(&self) -> &Waker {
        &self.waker
    }
}

/// # Safety
/// `data` is of a waker made here that is not dropped while this is used.
unsafe fn borrowed(data: *const ()) -> ManuallyDrop<Hold> {
    // SAFETY: the count stays the waker's.
    ManuallyDrop::new(unsafe { Hold::from_raw(data) })
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the waker is borrowed for as long as this takes.
    let flight = unsafe { borrowed(data) };
    RawWaker::new(Hold::clone(&flight).into_raw(), &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: takes over the count of the waker, which is gone with this call.
    let flight = unsafe { Hold::from_raw(data) };
    notify(&flight);
    drop(flight);
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the waker is borrowed for as long as this takes.
    let flight = unsafe { borrowed(data) };
    notify(&flight);
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: takes over the count of the waker, which is gone with this call.
    let flight = unsafe { Hold::from_raw(data) };
    drop(flight);
}
