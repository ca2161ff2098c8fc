//! Who is to be woken: an intrusive list, so that joining a flight allocates nothing.
//!
//! A [`Waiter`] lives inside its caller's pinned future and is linked into the flight's [`Waiters`] only
//! while it holds a waker. Its node is read and written under the flight's lock; the `&mut Waiters`
//! that every function here asks for is the proof of that. But whether it is linked its owner may see without; and
//! a leader that is alone waits in no line, where nobody needs the lock: it is [`Absent`].
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
// Not loom's: its owner's only.
use std::sync::atomic::AtomicBool;
use std::task::Waker;

use crate::sync::{AtomicU8, Ordering, UnsafeCell};

/// What a caller is to its flight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stake {
    Leader,
    Follower,
    /// Waits for an `Ending` flight to be over. Not counted.
    Bystander,
}

/// Which queue a caller waits in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    /// On the runtime that the flight would move to, or has: served by the flight's own task.
    Native,
    /// Anywhere else: woken whenever the work asks to be polled.
    Foreign,
}

/// A caller's place in the list; and what else there is to know of the caller, which takes no room here.
#[derive(Debug)]
pub(crate) struct Waiter {
    node: UnsafeCell<Node>,
    /// Which queue it is linked into. Changed under the lock, or as `Absent` has it; its owner may look without.
    queue: AtomicU8,
    pub(super) stake: Stake,
    /// A thread that parks between polls.
    pub(super) parks: bool,
    /// It has not been polled yet; a leader once, and it is in the seat. Its owner's.
    fresh: AtomicBool,
    _pinned: PhantomPinned,
}

#[derive(Debug)]
struct Node {
    /// There exactly while the node is linked, or its leader is away.
    waker: Option<Waker>,
    prev: *const Waiter,
    next: *const Waiter,
}

/// In no queue. A `Side` is one more than this, or two.
const UNLINKED: u8 = 0;
/// In none either, but with a waker. Bound for a `Side`, it is so much more.
const AWAY: u8 = 2;

impl Side {
    /// Of who is at home, if the flight has a home.
    pub(super) fn of(at_home: Option<bool>) -> Self {
        if at_home == Some(true) { Self::Native } else { Self::Foreign }
    }

    fn queue(self) -> u8 {
        self as u8 + 1
    }

    fn of_queue(queue: u8) -> Self {
        if queue == Self::Native.queue() { Self::Native } else { Self::Foreign }
    }
}

// SAFETY: the raw pointers are followed only under the lock of the flight (`&mut Waiters`), and a waker
// may be sent and shared.
unsafe impl Send for Waiter {}
// SAFETY: as above; a shared reference gives no access to the node without `&mut Waiters`, or what `Absent` asks for. The
// rest does not change once it is pinned, or is atomic.
unsafe impl Sync for Waiter {}

impl Waiter {
    #[inline(always)]
    pub(crate) fn new(stake: Stake, fresh: bool) -> Self {
        let node = Node { waker: None, prev: ptr::null(), next: ptr::null() };
        Self {
            node: UnsafeCell::new(node),
            queue: AtomicU8::new(UNLINKED),
            stake,
            parks: false,
            fresh: AtomicBool::new(fresh),
            _pinned: PhantomPinned,
        }
    }

    #[inline(always)]
    pub(super) fn is_fresh(&self) -> bool {
        // Relaxed, as below: one thread at a time has the owner.
        self.fresh.load(Ordering::Relaxed)
    }

    /// Whether it was fresh: it is not any more.
    #[inline(always)]
    pub(super) fn take_fresh(&self) -> bool {
        let is_fresh = self.is_fresh();
        self.fresh.store(false, Ordering::Relaxed);
        is_fresh
    }

    /// Whether anybody but its owner may come to it. If not, only the owner can change that.
    #[inline(always)]
    pub(crate) fn is_linked(&self) -> bool {
        // Acquire: pairs with the Release in `remove`, the last that another thread does with a waiter.
        self.queue.load(Ordering::Acquire) != UNLINKED
    }

    /// Whether it is away, or somebody is just taking the waker, or putting it in line. For its owner.
    #[inline(always)]
    pub(crate) fn is_away(&self) -> bool {
        // Acquire: as in `is_linked`.
        self.queue.load(Ordering::Acquire) > AWAY
    }

    /// Takes the waker of one that is away. Whoever sees that it is gone may be gone at once.
    ///
    /// # Safety
    /// It is the caller's: see [`Absent`].
    #[inline(always)]
    unsafe fn take(&self) -> Option<Waker> {
        // SAFETY: as asked for.
        let waker = self.node.with_mut(|node| unsafe { (*node).waker.take() });
        // Release: pairs with the Acquire in `is_away`.
        self.queue.store(UNLINKED, Ordering::Release);
        waker
    }
}

/// Where the waiter of a leader is to be found that is away: alone, and in no line.
///
/// This, and that waiter, are first the leader's, who has the seat. When it goes away (`Word::go_away`) they are nobody's,
/// until somebody ends that, which the word lets happen once: `recall`, or `notify`. Then they are theirs, until the waiter
/// has no waker, or stands in line. The leader keeps its waiter for as long as it `is_away`.
pub(super) struct Absent(UnsafeCell<*const Waiter>);

// SAFETY: the pointer leads to a `Waiter`, which may be sent and shared.
unsafe impl Send for Absent {}
// SAFETY: as above; all that gives access asks for the proof that it is the caller's.
unsafe impl Sync for Absent {}

impl Absent {
    #[inline(always)]
    pub(super) fn new() -> Self {
        Self(UnsafeCell::new(ptr::null()))
    }

    /// Gets the leader ready to go away, from where it is to be put in line on `side`.
    ///
    /// # Safety
    /// The caller is the leader, in the seat, and `waiter` is its own, which is not linked. It stays where it is until it
    /// is not away.
    #[inline(always)]
    pub(super) unsafe fn put(&self, waiter: Pin<&Waiter>, side: Side, waker: Waker) {
        let waiter = waiter.get_ref();
        // SAFETY: as asked for. There was no waker before.
        unsafe {
            self.0.with_mut(|place| *place = waiter);
            waiter.node.with_mut(|node| ptr::write(&raw mut (*node).waker, Some(waker)));
        }
        // Relaxed: whoever comes to it has seen the word, which is changed after this.
        waiter.queue.store(AWAY + side.queue(), Ordering::Relaxed);
    }

    /// The leader's waker.
    ///
    /// # Safety
    /// It is the caller's who has ended the absence, or does not begin it.
    #[inline(always)]
    pub(super) unsafe fn take(&self) -> Option<Waker> {
        // SAFETY: as asked for; the leader keeps its waiter until it has no waker.
        unsafe { (*self.0.with(|place| *place)).take() }
    }

    /// Puts the leader in line.
    ///
    /// # Safety
    /// As for [`take`](Self::take); and these are the waiters of the same flight.
    pub(super) unsafe fn line_up(&self, waiters: &mut Waiters) {
        // SAFETY: as in `take`. It is linked into this list only, and removed from it by its leader.
        unsafe {
            let waiter = Pin::new_unchecked(&*self.0.with(|place| *place));
            let side = Side::of_queue(waiter.queue.load(Ordering::Relaxed) - AWAY);
            let waker = waiter.node.with_mut(|node| (*node).waker.take());
            waiters.link(waiter, side, waker.expect("put there before it went away"));
        }
    }
}

/// For the models and the tests, which could not see it otherwise.
#[cfg(any(loom, debug_assertions))]
impl Drop for Waiter {
    fn drop(&mut self) {
        assert!(!self.is_away(), "somebody may be at it");
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
        debug_assert!(!waiter.is_linked() || waiter.is_away(), "in two places at once");
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
        debug_assert!(queue <= AWAY, "who was away has come back before");
        self.unlink(waiter, Side::of_queue(queue))
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
