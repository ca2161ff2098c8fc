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

/// Everybody who waits on one flight.
#[derive(Debug)]
pub(crate) struct Waiters {
    native: Queue,
    foreign: Queue,
}

#[derive(Debug)]
struct Queue {
    head: *const Waiter,
    tail: *const Waiter,
    len: usize,
}

// SAFETY: the pointers lead to `Waiter`s, which may be sent and shared.
unsafe impl Send for Waiters {}

impl Waiters {
    pub(crate) fn new() -> Self {
        let queue = || Queue { head: ptr::null(), tail: ptr::null(), len: 0 };
        Self { native: queue(), foreign: queue() }
    }

    pub(crate) fn len(&self, side: Side) -> usize {
        match side {
            Side::Native => self.native.len,
            Side::Foreign => self.foreign.len,
        }
    }

    fn queue(&mut self, side: Side) -> &mut Queue {
        match side {
            Side::Native => &mut self.native,
            Side::Foreign => &mut self.foreign,
        }
    }

    /// Whether `waiter` stands in `side` already and would wake the same task as `waker`.
    pub(crate) fn has(&mut self, waiter: Pin<&Waiter>, side: Side, waker: &Waker) -> bool {
        // SAFETY: `&mut self` is the lock; see the module.
        waiter.node.with_mut(|node| unsafe {
            (*node).side == side && (*node).waker.as_ref().is_some_and(|old| old.will_wake(waker))
        })
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
        let queue = self.queue(side);
        let tail = queue.tail;
        // SAFETY: `&mut self` is the lock. The node is unlinked, so this is the only access to it.
        waiter.node.with_mut(|node| unsafe {
            *node = Node { waker: Some(waker), side, prev: tail, next: ptr::null() };
        });
        if tail.is_null() {
            queue.head = this;
        } else {
            // SAFETY: what is linked has not been dropped: it is pinned, and removed before it is.
            unsafe { (*tail).node.with_mut(|node| (*node).next = this) };
        }
        queue.tail = this;
        queue.len += 1;
        old
    }

    /// Unlinks `waiter`, if it is linked, and gives back its waker.
    pub(crate) fn remove(&mut self, waiter: Pin<&Waiter>) -> Option<Waker> {
        // SAFETY: `&mut self` is the lock; what a node is linked to is linked as well, hence alive.
        waiter.node.with_mut(|node| unsafe {
            let waker = (*node).waker.take()?;
            let (prev, next) = ((*node).prev, (*node).next);
            let queue = self.queue((*node).side);
            if prev.is_null() {
                queue.head = next;
            } else {
                (*prev).node.with_mut(|node| (*node).next = next);
            }
            if next.is_null() {
                queue.tail = prev;
            } else {
                (*next).node.with_mut(|node| (*node).prev = prev);
            }
            queue.len -= 1;
            Some(waker)
        })
    }

    /// Unlinks the one who has waited longest in `side` and gives its waker.
    pub(crate) fn pop(&mut self, side: Side) -> Option<Waker> {
        let head = self.queue(side).head;
        if head.is_null() {
            return None;
        }
        // SAFETY: linked, hence alive and pinned.
        self.remove(unsafe { Pin::new_unchecked(&*head) })
    }
}
