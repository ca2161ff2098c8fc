//! Who is to be woken: an intrusive list, so that joining a flight allocates nothing.
//!
//! A [`Waiter`] lives inside its caller's pinned future and is linked into the flight's [`Waiters`] only
//! while it holds a waker. All its fields are read and written under the flight's lock; the `&mut Waiters`
//! that every function here asks for is the proof of that. But whether it is linked its owner may see without.
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

use crate::sync::{AtomicU8, Ordering, UnsafeCell};

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
    /// Which queue it is linked into. Changed under the lock; its owner may look without, see `is_linked`.
    queue: AtomicU8,
    _pinned: PhantomPinned,
}

#[derive(Debug)]
struct Node {
    /// There exactly while the node is linked.
    waker: Option<Waker>,
    prev: *const Waiter,
    next: *const Waiter,
}

/// In no queue. A `Side` is one more than this, or two.
const UNLINKED: u8 = 0;

impl Side {
    fn queue(self) -> u8 {
        self as u8 + 1
    }
}

// SAFETY: the raw pointers are followed only under the lock of the flight (`&mut Waiters`), and a waker
// may be sent and shared.
unsafe impl Send for Waiter {}
// SAFETY: as above; a shared reference gives no access without `&mut Waiters`.
unsafe impl Sync for Waiter {}

impl Waiter {
    #[inline(always)]
    pub(crate) fn new() -> Self {
        let node = Node { waker: None, prev: ptr::null(), next: ptr::null() };
        Self { node: UnsafeCell::new(node), queue: AtomicU8::new(UNLINKED), _pinned: PhantomPinned }
    }

    /// Whether anybody but its owner may come to it. If not, only the owner can change that.
    #[inline(always)]
    pub(crate) fn is_linked(&self) -> bool {
        // Acquire: pairs with the Release in `remove`, the last that another thread does with a waiter.
        self.queue.load(Ordering::Acquire) != UNLINKED
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

    #[inline(always)]
    fn queue(&mut self, side: Side) -> (&mut *const Waiter, &mut u32) {
        match side {
            Side::Native => (&mut self.native, &mut self.natives),
            Side::Foreign => (&mut self.foreign, &mut self.foreigners),
        }
    }

    /// Whether `waiter` stands in `side` already and would wake the same task as `waker`.
    pub(crate) fn has(&mut self, waiter: Pin<&Waiter>, side: Side, waker: &Waker) -> bool {
        let has = |node: &mut Node| node.waker.as_ref().is_some_and(|old| old.will_wake(waker));
        // Relaxed: under the lock.
        waiter.queue.load(Ordering::Relaxed) == side.queue()
            // SAFETY: `&mut self` is the lock; see the module.
            && waiter.node.with_mut(|node| has(unsafe { &mut *node }))
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
        // SAFETY: as asked for.
        unsafe { self.link(waiter, side, waker) };
        old
    }

    /// As `set`, of a waiter that stands in no line.
    ///
    /// # Safety
    /// As for `set`.
    #[inline(always)]
    pub(crate) unsafe fn link(&mut self, waiter: Pin<&Waiter>, side: Side, waker: Waker) {
        debug_assert!(!waiter.is_linked(), "in two places at once");
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
        let linked = Node { waker: Some(waker), prev, next };
        // SAFETY: `&mut self` is the lock, and this the only access to the node now, which has no waker.
        waiter.node.with_mut(|node| unsafe { ptr::write(node, linked) });
        // Relaxed: under the lock.
        waiter.queue.store(side.queue(), Ordering::Relaxed);
    }

    /// Unlinks `waiter`, if it is linked, and gives back its waker.
    #[inline]
    pub(crate) fn remove(&mut self, waiter: Pin<&Waiter>) -> Option<Waker> {
        // Relaxed: under the lock.
        let queue = waiter.queue.load(Ordering::Relaxed);
        if queue == UNLINKED {
            return None;
        }
        let side = if queue == Side::Native.queue() { Side::Native } else { Side::Foreign };
        self.unlink(waiter, side)
    }

    /// Of one that is linked into `side`.
    #[inline(always)]
    fn unlink(&mut self, waiter: Pin<&Waiter>, side: Side) -> Option<Waker> {
        let this: *const Waiter = waiter.get_ref();
        let (waker, prev, next) = waiter.node.with_mut(|node| {
            // SAFETY: `&mut self` is the lock.
            let node = unsafe { &mut *node };
            (node.waker.take(), node.prev, node.next)
        });
        let (head, len) = self.queue(side);
        *len -= 1;
        if next == this {
            *head = ptr::null();
        } else {
            if *head == this {
                *head = next;
            }
            // SAFETY: what a node is linked to is linked as well, hence alive. No two accesses overlap.
            unsafe {
                (*prev).node.with_mut(|prev| (*prev).next = next);
                (*next).node.with_mut(|next| (*next).prev = prev);
            }
        }
        // Release: pairs with the Acquire in `is_linked`. Whoever sees it may be gone at once.
        waiter.queue.store(UNLINKED, Ordering::Release);
        waker
    }

    /// Unlinks the one who has waited longest in `side` and gives its waker.
    #[inline]
    pub(crate) fn pop(&mut self, side: Side) -> Option<Waker> {
        let head = *self.queue(side).0;
        if head.is_null() {
            return None;
        }
        // SAFETY: linked, hence alive and pinned.
        self.unlink(unsafe { Pin::new_unchecked(&*head) }, side)
    }
}
