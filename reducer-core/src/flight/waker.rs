//! The flight's waker: what the work wakes to ask for its next poll.
//!
//! A waker's data is one thin pointer, and an `Arc<dyn Craft>` is a wide one. So the pointer is to the
//! flight's `Core`, which knows how to make it wide again.
//!
//! # Why
//! `Waker::from(Arc<Flight<..>>)` needs no `unsafe`. It is compiled for every function in a program that is
//! under the attribute (a fifth of what each of them costs), and it takes a count up and down for every
//! poll, whether or not the work keeps the waker.
#![allow(unsafe_code, reason = "a waker by hand; the module's text says what that buys")]

use std::mem::ManuallyDrop;
use std::sync::Arc;
use std::task::{RawWaker, RawWakerVTable, Waker};

use super::phase::notify;
use super::{Core, Craft, quietly};

/// Makes the pointer to a flight wide.
///
/// # Safety
/// The pointer is to a flight of the type that the function is of.
pub(super) type Widen = unsafe fn(*const ()) -> *const dyn Craft;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// The waker of a flight for as long as the flight is borrowed: no count is taken unless the work clones it.
pub(crate) fn waker(flight: &Arc<dyn Craft>) -> BorrowedWaker<'_> {
    let data = Arc::as_ptr(flight).cast();
    // SAFETY: the functions below keep a waker's contract for a pointer out of `Arc<dyn Craft>`. This one
    // is never dropped, for no count was taken for it.
    let waker = ManuallyDrop::new(unsafe { Waker::new(data, &VTABLE) });
    BorrowedWaker { waker, _flight: flight }
}

pub(crate) struct BorrowedWaker<'a> {
    waker: ManuallyDrop<Waker>,
    _flight: &'a Arc<dyn Craft>,
}

impl BorrowedWaker<'_> {
    pub(crate) fn get(&self) -> &Waker {
        &self.waker
    }
}

/// # Safety
/// `data` is of a waker made here, and what it stands for has not been given up: the flight lives.
unsafe fn craft(data: *const ()) -> *const dyn Craft {
    // SAFETY: a flight begins with its core (`repr(C)`, both), and was told by `Flight::new` how it is
    // made wide.
    unsafe { ((*data.cast::<Core>()).widen)(data) }
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: the flight lives, in an `Arc`; the count is the clone's.
    unsafe { Arc::increment_strong_count(craft(data)) };
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake(data: *const ()) {
    // SAFETY: takes over the count of the waker, which is gone with this call.
    let flight = unsafe { Arc::from_raw(craft(data)) };
    notify(&flight);
    quietly(|| drop(flight));
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: the count stays the waker's, which is borrowed for as long as this takes.
    let flight = ManuallyDrop::new(unsafe { Arc::from_raw(craft(data)) });
    notify(&flight);
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: takes over the count of the waker, which is gone with this call.
    let flight = unsafe { Arc::from_raw(craft(data)) };
    quietly(|| drop(flight));
}
