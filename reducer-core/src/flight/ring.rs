//! Which flight this thread is polling, and which flights wait on which: so that a ring is found when it
//! closes (law 8).
//!
//! A caller polled inside a flight's work makes an edge: that flight waits on the caller's flight. The
//! edge is entered first and then the graph is searched, so of several callers that close a ring at the
//! same time the last to enter its edge finds it. One flight is locked at a time.
//!
//! Outside of any flight all this costs one look at a thread-local.

use std::cell::RefCell;
use std::mem;
use std::ptr;
use std::sync::Arc;

use super::host::{TaskId, task_id};
use super::{Craft, quietly};
use crate::error::Reentrant;
use crate::sync::thread_local;

// Made at compile time: there is no look whether it was made. loom knows no such form.
#[cfg(not(loom))]
thread_local! {
    static CURRENT: RefCell<Option<Inside>> = const { RefCell::new(None) };
}
#[cfg(loom)]
thread_local! {
    static CURRENT: RefCell<Option<Inside>> = RefCell::new(None);
}

/// A flight whose work is running, and the task it runs in: a `block_on` inside of the work may poll tasks
/// that have nothing to do with it.
struct Inside(Arc<dyn Craft>, TaskId);

/// Looks at the flight whose work this thread is running.
fn with_current<T>(look: impl FnOnce(Option<&Arc<dyn Craft>>) -> T) -> Option<T> {
    let looked = CURRENT.try_with(|current| match &*current.borrow() {
        Some(Inside(flight, task)) if *task == task_id() => look(Some(flight)),
        _ => look(None),
    });
    looked.ok()
}

/// The flight whose work this thread is running, unless the thread is ending.
fn current() -> Option<Arc<dyn Craft>> {
    with_current(|current| current.map(Arc::clone)).flatten()
}

#[inline]
fn replace_current(inside: Option<Inside>) -> Option<Inside> {
    CURRENT.try_with(|current| mem::replace(&mut *current.borrow_mut(), inside)).ok().flatten()
}

/// Makes `flight` the current one until the guard is dropped.
#[inline]
pub(crate) fn enter(flight: Arc<dyn Craft>) -> Aboard {
    Aboard { outer: replace_current(Some(Inside(flight, task_id()))) }
}

/// Puts the outer flight back.
pub(crate) struct Aboard {
    outer: Option<Inside>,
}

impl Drop for Aboard {
    fn drop(&mut self) {
        drop(replace_current(self.outer.take()));
    }
}

/// A caller's edge: the flight it was last polled in.
#[derive(Default)]
pub(crate) struct Link {
    inside: Option<Arc<dyn Craft>>,
}

impl Link {
    /// Moves the edge to where the caller is polled now, and looks whether that closes a ring.
    pub(crate) fn refresh(&mut self, target: &Arc<dyn Craft>) -> Result<(), Reentrant> {
        let unchanged = with_current(|current| match (current, &self.inside) {
            (None, None) => true,
            (Some(now), Some(then)) => same(now, then),
            _ => false,
        });
        if unchanged.unwrap_or(true) {
            return Ok(());
        }
        quietly(|| self.cut(target));
        let Some(inside) = current() else {
            return Ok(());
        };
        inside.core().lock().waits().push(Arc::clone(target));
        self.inside = Some(Arc::clone(&inside));
        let ring = path(target, &inside);
        ring.map_or(Ok(()), |ring| Err(Reentrant::new(ring)))
    }

    /// Takes the edge away.
    pub(crate) fn cut(&mut self, target: &Arc<dyn Craft>) {
        let Some(inside) = self.inside.take() else {
            return;
        };
        let mut state = inside.core().lock();
        let edge = state.waits_if_any().iter().position(|waited| same(waited, target));
        let waited = edge.map(|edge| state.waits().swap_remove(edge));
        drop(state);
        drop(waited);
    }
}

/// Whether `flight` waits, directly or through others, on the work this thread is running.
pub(crate) fn waits_on_us(flight: &Arc<dyn Craft>) -> bool {
    current().is_some_and(|current| path(flight, &current).is_some())
}

pub(crate) fn same(a: &Arc<dyn Craft>, b: &Arc<dyn Craft>) -> bool {
    ptr::addr_eq(Arc::as_ptr(a), Arc::as_ptr(b))
}

/// The names along the way on which `from` waits for `to`, from `to` round to `to` again.
fn path(from: &Arc<dyn Craft>, to: &Arc<dyn Craft>) -> Option<Vec<String>> {
    // Each flight found, with the place in this list of the one that waits on it.
    let mut seen = vec![(Arc::clone(from), 0)];
    let mut next = 0;
    while next < seen.len() {
        let flight = Arc::clone(&seen[next].0);
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

fn names(seen: &[(Arc<dyn Craft>, usize)], last: usize, to: &Arc<dyn Craft>) -> Vec<String> {
    // Several flights of one function look alike but for their keys, which cannot be shown: a bit of
    // the hash tells them apart.
    let name = |flight: &Arc<dyn Craft>| {
        format!("{} (key #{:08x})", flight.describe(), flight.core().hash as u32)
    };
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
