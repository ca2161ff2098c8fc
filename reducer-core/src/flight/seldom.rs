//! An `Option` that is `None` by the time it is dropped, as a rule: then its end takes no call.
//!
//! # Why
//! The end of an `Option<Hold>` or of an `Option<Arc<_>>` is a function, for what it would do if there were something takes
//! a while; and a call passes several of them on its way out.

use std::mem::ManuallyDrop;
use std::ops::{Deref, DerefMut};

/// See the module.
pub(super) struct Seldom<T>(ManuallyDrop<Option<T>>);

impl<T> Default for Seldom<T> {
    #[inline(always)]
    fn default() -> Self {
        Self::from(None)
    }
}

impl<T> From<Option<T>> for Seldom<T> {
    #[inline(always)]
    fn from(value: Option<T>) -> Self {
        Self(ManuallyDrop::new(value))
    }
}

impl<T> Deref for Seldom<T> {
    type Target = Option<T>;

    #[inline(always)]
    fn deref(&self) -> &Option<T> {
        &self.0
    }
}

impl<T> DerefMut for Seldom<T> {
    #[inline(always)]
    fn deref_mut(&mut self) -> &mut Option<T> {
        &mut self.0
    }
}

impl<T> Drop for Seldom<T> {
    #[inline(always)]
    fn drop(&mut self) {
        #[cold]
        #[inline(never)]
        fn end<T>(place: &mut Option<T>) {
            *place = None;
        }
        if self.is_some() {
            end(&mut self.0);
        }
    }
}
