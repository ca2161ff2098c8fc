//! The primitives everything else stands on: std's, or loom's when the models run, or shuttle's (`loom` and `shuttle`
//! both set) when they run by the dice.
//!
//! One difference from std: a lock is never poisoned. No user code runs under any lock of this crate
//! (law 10), so a panic cannot leave what a lock guards half-changed.

#[cfg(not(loom))]
mod imp {
    #[cfg(feature = "tokio")]
    pub(crate) use std::sync::atomic::AtomicU64;
    pub(crate) use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, AtomicUsize, Ordering};
    pub(crate) use std::thread::{self, Thread};
    pub(crate) use std::thread_local;

    pub(crate) use std::sync::MutexGuard;
    use std::sync::PoisonError;

    #[derive(Debug, Default)]
    pub(crate) struct Mutex<T>(std::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().unwrap_or_else(PoisonError::into_inner)
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().unwrap_or_else(PoisonError::into_inner)
        }
    }

    pub(crate) use super::cell::UnsafeCell;
}

#[cfg(loom)]
mod imp {
    #[cfg(not(shuttle))]
    use loom as tool;
    #[cfg(shuttle)]
    use shuttle as tool;

    pub(crate) use tool::sync::MutexGuard;
    pub(crate) use tool::sync::atomic::{
        AtomicBool, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering,
    };
    pub(crate) use tool::thread::{self, Thread};
    pub(crate) use tool::thread_local;

    #[derive(Debug)]
    pub(crate) struct Mutex<T>(tool::sync::Mutex<T>);

    impl<T> Mutex<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(tool::sync::Mutex::new(value))
        }

        pub(crate) fn lock(&self) -> MutexGuard<'_, T> {
            self.0.lock().expect("no user code runs under a lock, so none is poisoned")
        }

        pub(crate) fn get_mut(&mut self) -> &mut T {
            self.0.get_mut().expect("as above")
        }
    }

    #[cfg(shuttle)]
    pub(crate) use super::cell::UnsafeCell;
    #[cfg(not(shuttle))]
    pub(crate) use loom::cell::UnsafeCell;
}

#[cfg(any(not(loom), shuttle))]
mod cell {
    /// As loom's, which sees who is at what it holds at the same time.
    #[derive(Debug)]
    pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

    impl<T> UnsafeCell<T> {
        pub(crate) fn new(value: T) -> Self {
            Self(std::cell::UnsafeCell::new(value))
        }

        #[inline(always)]
        pub(crate) fn with<U>(&self, act: impl FnOnce(*const T) -> U) -> U {
            act(self.0.get())
        }

        #[inline(always)]
        pub(crate) fn with_mut<U>(&self, act: impl FnOnce(*mut T) -> U) -> U {
            act(self.0.get())
        }
    }
}

pub(crate) use imp::*;
