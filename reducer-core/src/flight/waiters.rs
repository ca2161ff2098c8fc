//! Who is to be woken: an intrusive list, so that joining a flight allocates nothing.
//!
//! A [`Waiter`] lives inside its caller's pinned future and is linked into the flight's [`Waiters`] only
//! while it holds a waker. All its fields are read and written under the flight's lock; the `&mut Waiters`
//! that every function here asks for is the proof of that.
//!
//! # Why
//! A `Vec<Waker>` in the flight was tried first: it allocates as it grows, which the contract forbids,
//! and a caller that leaves must search it or leave a hole. `tokio::sync::Notify` and `event-listener`
//! would do; the first is not there without tokio, the second allocates for its first listener.
#![allow(unsafe_code, reason = "an intrusive list; see the module's text and the loom models")]

use std::marker::PhantomPinned;
use std::mem;
use std::pin::Pin;
use std::ptr;
use std::task::Waker;

use crate::sync::UnsafeCell;

/// Which queue a caller waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// On the runtime that the flight would move to, or has: served by the flight's own task.
    Native,
    /// Anywhere else: woken whenever the work asks to be polled.
    Foreign,
}

/// A caller's place in the list.
#[derive(Debug)]
pub(crate) struct Waiter {
    node: UnsafeCell<Node>,
    _pinned: PhantomPinned,
}

#[derive(Debug)]
struct Node {
    /// There exactly while the node is linked.
    waker: Option<Waker>,
    side: Side,
    prev: *const Waiter,
    next: *const Waiter,
}

impl Node {
    fn take(&mut self) -> Option<(Waker, Side, *const Waiter, *const Waiter)> {
        Some((self.waker.take()?, self.side, self.prev, self.next))
    }
}

// SAFETY: the raw pointers are followed only under the lock of the flight (`&mut Waiters`), and a waker
// may be sent and shared.
unsafe impl Send for Waiter {}
// SAFETY: as above; a shared reference gives no access without `&mut Waiters`.
unsafe impl Sync for Waiter {}

impl Waiter {
    pub(crate) fn new() -> Self {
        let node = Node { waker: None, side: Side::Foreign, prev: ptr::null(), next: ptr::null() };
        Self { node: UnsafeCell::new(node), _pinned: PhantomPinned }
    }
}

/// Everybody who waits on one flight: two rings, each known by whoever has waited longest.
#[derive(Debug)]
pub(crate) struct Waiters {
    native: *const Waiter,
    foreign: *const Waiter,
    natives: u32,
    foreigners: u32,
}

// SAFETY: the pointers lead to `Waiter`s, which may be sent and shared.
unsafe impl Send for Waiters {}

impl Waiters {
    pub(crate) fn new() -> Self {
        Self { native: ptr::null(), foreign: ptr::null(), natives: 0, foreigners: 0 }
    }

    pub(crate) fn len(&self, side: Side) -> u32 {
        match side {
            Side::Native => self.natives,
            Side::Foreign => self.foreigners,
        }
    }

    fn queue(&mut self, side: Side) -> (&mut *const Waiter, &mut u32) {
        match side {
            Side::Native => (&mut self.native, &mut self.natives),
            Side::Foreign => (&mut self.foreign, &mut self.foreigners),
        }
    }

    /// Whether `waiter` stands in `side` already and would wake the same task as `waker`.
    pub(crate) fn has(&mut self, waiter: Pin<&Waiter>, side: Side, waker: &Waker) -> bool {
        let has = |node: &mut Node| {
            node.side == side && node.waker.as_ref().is_some_and(|old| old.will_wake(waker))
        };
        // SAFETY: `&mut self` is the lock; see the module.
        waiter.node.with_mut(|node| has(unsafe { &mut *node }))
    }

    /// Puts `waiter` at the end of `side` with `waker`; gives back the waker it replaces, to be dropped
    /// when the lock is free.
    ///
    /// # Safety
    /// `waiter` is used with this list only, and `remove` is called before it is dropped.
    pub(crate) unsafe fn set(
        &mut self,
        waiter: Pin<&Waiter>,
        side: Side,
        waker: Waker,
    ) -> Option<Waker> {
        let old = self.remove(waiter);
        let this: *const Waiter = waiter.get_ref();
        let (head, len) = self.queue(side);
        *len += 1;
        let (mut prev, mut next) = (this, this);
        if head.is_null() {
            *head = this;
        } else {
            next = *head;
            // SAFETY: what is linked has not been dropped: it is pinned, and removed before it is. No two
            // of these accesses overlap.
            unsafe {
                prev = (*next).node.with_mut(|next| mem::replace(&mut (*next).prev, this));
                (*prev).node.with_mut(|prev| (*prev).next = this);
            }
        }
        let linked = Node { waker: Some(waker), side, prev, next };
        // SAFETY: `&mut self` is the lock, and this the only access to the node now.
        waiter.node.with_mut(|node| unsafe { *node = linked });
        old
    }

    /// Unlinks `waiter`, if it is linked, and gives back its waker.
    pub(crate) fn remove(&mut self, waiter: Pin<&Waiter>) -> Option<Waker> {
        let this: *const Waiter = waiter.get_ref();
        // SAFETY: `&mut self` is the lock.
        let (waker, side, prev, next) = waiter.node.with_mut(|node| unsafe { (*node).take() })?;
        let (head, len) = self.queue(side);
        *len -= 1;
        if next == this {
            *head = ptr::null();
            return Some(waker);
        }
        if *head == this {
            *head = next;
        }
        // SAFETY: what a node is linked to is linked as well, hence alive. No two accesses overlap.
        unsafe {
            (*prev).node.with_mut(|prev| (*prev).next = next);
            (*next).node.with_mut(|next| (*next).prev = prev);
        }
        Some(waker)
    }

    /// Unlinks the one who has waited longest in `side` and gives its waker.
    pub(crate) fn pop(&mut self, side: Side) -> Option<Waker> {
        let head = *self.queue(side).0;
        if head.is_null() {
            return None;
        }
        // SAFETY: linked, hence alive and pinned.
        self.remove(unsafe { Pin::new_unchecked(&*head) })
    }
}
