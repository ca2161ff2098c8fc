//! Which flight this thread is polling, and which flights wait on which: so that a ring is found when it
//! closes (law 8).
//!
//! A caller polled inside a flight's work makes an edge: that flight waits on the caller's flight. The
//! edge is entered first and then the graph is searched, so of several callers that close a ring at the
//! same time the last to enter its edge finds it. One flight is locked at a time.
//!
//! Outside of any flight all this costs one look at a thread-local.

use std::cell::Cell;
use std::ptr;

use super::host::{TaskId, task_id};
use super::seldom::Seldom;
use super::{Hold, same};
use crate::error::Reentrant;
use crate::sync::thread_local;

// Made at compile time: there is no look whether it was made. loom knows no such form.
#[cfg(not(loom))]
thread_local! {
    static CURRENT: Cell<*const Inside> = const { Cell::new(ptr::null()) };
}
#[cfg(loom)]
thread_local! {
    static CURRENT: Cell<*const Inside> = Cell::new(ptr::null());
}

/// A flight whose work is running, and the task it runs in: a `block_on` inside of the work may poll tasks
/// that have nothing to do with it.
struct Inside {
    flight: *const Hold,
    task: TaskId,
    /// That which was entered before.
    outer: Cell<*const Self>,
}

/// Makes `flight` the current one while `act` runs.
#[inline(always)]
pub(crate) fn within<T>(flight: &Hold, act: impl FnOnce() -> T) -> T {
    /// Puts the outer flight back, on every way out.
    struct Back<'a>(&'a Inside);
    impl Drop for Back<'_> {
        #[inline(always)]
        fn drop(&mut self) {
            let _ = CURRENT.try_with(|current| {
                if ptr::eq(current.get(), self.0) {
                    current.set(self.0.outer.get());
                } else {
                    unchain(current.get(), self.0);
                }
            });
        }
    }
    let inside = Inside { flight, task: task_id(), outer: Cell::new(ptr::null()) };
    // A thread that is ending has no place for it.
    let _ = CURRENT.try_with(|current| inside.outer.set(current.replace(&inside)));
    let _back = Back(&inside);
    act()
}

/// Takes out `inside`, which is left before one that was entered later: coroutines of one thread can do that.
#[cold]
#[allow(unsafe_code, reason = "as `current`")]
fn unchain(top: *const Inside, inside: &Inside) {
    let mut next = top;
    // SAFETY: whatever is in the chain is in a frame of `within` that has not been left: who leaves takes itself out.
    while let Some(later) = unsafe { next.as_ref() } {
        next = later.outer.get();
        if ptr::eq(next, inside) {
            later.outer.set(inside.outer.get());
            return;
        }
    }
}

/// Whether this thread is running the work of any flight at all.
#[inline]
pub(super) fn is_inside() -> bool {
    CURRENT.try_with(|current| !current.get().is_null()).unwrap_or(false)
}

/// The flight whose work this thread is running, unless the thread is ending.
#[allow(unsafe_code, reason = "a pointer up the stack, so that nothing is counted for each poll")]
fn current() -> Option<Hold> {
    let inside = CURRENT.try_with(Cell::get).ok()?;
    // SAFETY: what is in `CURRENT` is in a frame of `within` that has not been left, or null. Further up this very
    // stack, as a rule; on another of this thread's, if the work is a coroutine.
    let inside = unsafe { inside.as_ref() }?;
    // SAFETY: what that borrows outlives it.
    (inside.task == task_id()).then(|| unsafe { Hold::clone(&*inside.flight) })
}

/// A caller's edge: the flight it was last polled in.
#[derive(Default)]
pub(crate) struct Link {
    inside: Seldom<Hold>,
}

impl Link {
    /// Moves the edge to where the caller is polled now, and looks whether that closes a ring.
    #[inline]
    pub(crate) fn refresh(&mut self, target: &Hold) -> Result<(), Reentrant> {
        if self.inside.is_none() && !is_inside() {
            return Ok(());
        }
        self.relink(target)
    }

    fn relink(&mut self, target: &Hold) -> Result<(), Reentrant> {
        let now = current();
        match (&now, &*self.inside) {
            (None, None) => return Ok(()),
            (Some(now), Some(then)) if same(now, then) => return Ok(()),
            _ => {}
        }
        self.cut(target);
        let Some(inside) = now else {
            return Ok(());
        };
        inside.core().lock().waits().push(target.clone());
        *self.inside = Some(inside.clone());
        let ring = path(target, &inside);
        ring.map_or(Ok(()), |ring| Err(Reentrant::new(ring)))
    }

    /// Takes the edge away.
    #[inline(always)]
    pub(crate) fn cut(&mut self, target: &Hold) {
        if let Some(inside) = self.inside.take() {
            unlink(&inside, target);
        }
    }
}

fn unlink(inside: &Hold, target: &Hold) {
    let mut state = inside.core().lock();
    let edge = state.waits_if_any().iter().position(|waited| same(waited, target));
    let waited = edge.map(|edge| state.waits().swap_remove(edge));
    drop(state);
    drop(waited);
}

/// Whether `flight` waits, directly or through others, on the work this thread is running.
pub(crate) fn waits_on_us(flight: &Hold) -> bool {
    current().is_some_and(|current| path(flight, &current).is_some())
}

/// The names along the way on which `from` waits for `to`, from `to` round to `to` again.
fn path(from: &Hold, to: &Hold) -> Option<Vec<String>> {
    // Each flight found, with the place in this list of the one that waits on it.
    let mut seen = vec![(from.clone(), 0)];
    let mut next = 0;
    while next < seen.len() {
        let flight = seen[next].0.clone();
        if same(&flight, to) {
            return Some(names(&seen, next, to));
        }
        let waits = flight.core().lock().waits_if_any().to_vec();
        for waited in waits {
            if !seen.iter().any(|(known, _)| same(known, &waited)) {
                seen.push((waited, next));
            }
        }
        next += 1;
    }
    None
}

fn names(seen: &[(Hold, usize)], last: usize, to: &Hold) -> Vec<String> {
    // Several flights of one function look alike but for their keys, which cannot be shown: a bit of
    // the hash tells them apart.
    let name = |flight: &Hold| format!("{} (key #{:08x})", flight.describe(), flight.core().hash);
    let mut ring = vec![name(to)];
    let mut at = last;
    while at != 0 {
        at = seen[at].1;
        ring.push(name(&seen[at].0));
    }
    ring.push(name(to));
    ring.reverse();
    ring
}
