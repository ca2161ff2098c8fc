//! What identifies a call: hashed and compared as the caller has it, owned only by the call that leads if that costs
//! anything.

pub(crate) mod parts;

use std::any::{TypeId, type_name};
use std::borrow::Borrow;
use std::fmt;
use std::hash::Hash;

use crate::hooks::shown;

/// The hasher that keys are fed to. A concrete type, so that a function pointer can name it.
pub(crate) type KeyHasher = ahash::AHasher;

/// The key of a call, in the form that the caller has.
pub trait Key {
    /// The form that stays with the flight.
    type Owned: Send + Sync + 'static;
    /// How two owned forms compare.
    type Same: Same<Self::Owned>;
    /// Whether `into_owned` is a mere move, or the copy of a number. Then there is no point in looking before owning.
    fn is_free() -> bool {
        false
    }
    /// Whether `into_owned` runs nobody's code but the allocator's, and so may be called under a lock.
    fn is_quick() -> bool {
        false
    }

    /// Hashes as the owned form does.
    fn hash(&self, hasher: &mut KeyHasher);
    /// Whether this is the key of a flight.
    fn eq(&self, owned: &Self::Owned) -> bool;
    /// Becomes the flight's own.
    fn into_owned(self) -> (Self::Owned, Self::Same);
}

/// Equality of owned keys, as a value: so that it can be a function pointer where no trait is at hand.
pub trait Same<K>: Copy + 'static {
    /// Whether `a` and `b` are one key.
    fn same(&self, a: &K, b: &K) -> bool;

    /// Shows what can be shown of a key.
    fn show(key: &K, f: &mut fmt::Formatter<'_>) -> fmt::Result
    where
        K: 'static,
        Self: Sized,
    {
        shown::any(key, f)
    }
}

/// As `Eq` says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ByEq;

impl<K: Eq> Same<K> for ByEq {
    fn same(&self, a: &K, b: &K) -> bool {
        a == b
    }
}

/// A key that is the call's own.
#[derive(Debug)]
pub(crate) struct Owned<K>(pub K);

impl<K: Hash + Eq + Send + Sync + 'static> Key for Owned<K> {
    type Owned = K;
    type Same = ByEq;

    fn is_free() -> bool {
        true
    }

    fn is_quick() -> bool {
        true
    }

    fn hash(&self, hasher: &mut KeyHasher) {
        self.0.hash(hasher);
    }

    fn eq(&self, owned: &K) -> bool {
        self.0 == *owned
    }

    fn into_owned(self) -> (K, ByEq) {
        (self.0, ByEq)
    }
}

/// A key that was looked for, and is owned by now.
#[derive(Debug)]
pub(crate) struct Kept<K, S>(pub K, pub S);

impl<K, S> Kept<K, S> {
    pub(crate) fn of<P: Key<Owned = K, Same = S>>(key: P) -> Self {
        let (key, same) = key.into_owned();
        Self(key, same)
    }
}

impl<K: Send + Sync + 'static, S: Same<K>> Key for Kept<K, S> {
    type Owned = K;
    type Same = S;

    fn is_free() -> bool {
        true
    }

    fn is_quick() -> bool {
        true
    }

    fn hash(&self, _: &mut KeyHasher) {
        unreachable!("its hash is known");
    }

    fn eq(&self, owned: &K) -> bool {
        self.1.same(&self.0, owned)
    }

    fn into_owned(self) -> (K, S) {
        (self.0, self.1)
    }
}

/// A key that somebody else owns.
#[derive(Debug)]
pub(crate) struct ByRef<'a, Q: ?Sized>(pub &'a Q);

impl<Q> Key for ByRef<'_, Q>
where
    Q: ?Sized + Hash + Eq + ToOwned,
    Q::Owned: Eq + Send + Sync + 'static,
{
    type Owned = Q::Owned;
    type Same = ByEq;

    fn is_quick() -> bool {
        is_str::<Q, Q::Owned>()
    }

    fn hash(&self, hasher: &mut KeyHasher) {
        self.0.hash(hasher);
    }

    fn eq(&self, owned: &Q::Owned) -> bool {
        self.0 == owned.borrow()
    }

    fn into_owned(self) -> (Q::Owned, ByEq) {
        (self.0.to_owned(), ByEq)
    }
}

/// Whether these are a `str` and its own `String`. What another type is called begins with the name of its crate.
pub(crate) fn is_str<Q: ?Sized, O: 'static>() -> bool {
    type_name::<Q>() == "str" && TypeId::of::<O>() == TypeId::of::<String>()
}
