//! What the arguments of a `#[reduceable]` function have to be: elements of its key, kept by the
//! shared call.
//!
//! # Law
//!
//! 1. An argument is looked up as the caller has it, borrowed or not, and owned only by the call
//!    that leads, but for plain numbers.
//! 2. All forms of a key hash alike: the arguments `(7, "x")`, and `&(7, "x".to_owned())` as handed
//!    to `forget`.
//! 3. Only floats and [`ByPtr`] bring an equality of their own: identical ones are equal, and no
//!    others.
//!
//! # Forms
//!
//! The key is one [`Part`], or a tuple of them; [`probe`] finds out how an argument becomes one:
//!
//! | argument | looked up as | stored as |
//! |---|---|---|
//! | `f32`, `&f32`, `f64`, `&f64` | its bits | its bits |
//! | `ByPtr<&Arc<T>>` | the address | the `Arc`, so that the address stays taken |
//! | `&B`, `Option<&B>` | `B`, `Option<&B>` | `B::Owned`, `Option<B::Owned>` |
//! | any other `T` | `&T` | `T`, cloned |
//!
//! # Why
//!
//! - **Steps of `Deref` instead of traits in scope**: a generated call that needs `use Trait as _`
//!   cannot contain the user's expressions, for the trait would be in scope there too.
//! - **Bounds on methods only, function pointers inside of a [`Part`]**: a missing bound is one
//!   error at the argument, not one more for every function that the part passes through.
//! - **`do_not_recommend` on each blanket impl**: without it rustc reports `Opts: Hash`, and says
//!   nothing of `skip` and `key`.

use std::any::{TypeId, type_name};
use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::ops::Deref;
use std::sync::Arc;

use crate::error::ReduceError;
use crate::key::{Key, KeyHasher, Same};

/// One element of a key: how it is looked up (`view`), and how it is stored.
#[derive(Debug)]
pub struct Part<V, O> {
    view: V,
    hash: fn(&V, &mut KeyHasher),
    eq: fn(&V, &O) -> bool,
    own: fn(V) -> O,
    same: fn(&O, &O) -> bool,
}

impl<V, O: Send + Sync + 'static> Key for Part<V, O> {
    type Owned = O;
    type Same = SamePart<O>;

    fn is_free() -> bool {
        // Bits of a number, and no argument, are looked for as they are kept.
        is_plain::<O>() && (is_quick::<V, O>() || type_name::<V>() == type_name::<O>())
    }

    fn is_quick() -> bool {
        is_quick::<V, O>()
    }

    fn hash(&self, hasher: &mut KeyHasher) {
        (self.hash)(&self.view, hasher);
    }

    fn eq(&self, owned: &O) -> bool {
        (self.eq)(&self.view, owned)
    }

    fn into_owned(self) -> (O, SamePart<O>) {
        ((self.own)(self.view), SamePart(self.same))
    }
}

/// Whether a copy of an `O` is a few bytes and nothing else. There is no bound to ask for that, but the types are known:
/// what stands here is a constant by the time it runs.
fn is_plain<O: 'static>() -> bool {
    macro_rules! any_of {
        ($($plain:ty)*) => { false $(|| TypeId::of::<O>() == TypeId::of::<$plain>())* };
    }
    any_of!(() bool char u8 u16 u32 u64 u128 usize i8 i16 i32 i64 i128 isize)
        || TypeId::of::<O>() == TypeId::of::<&'static str>()
}

/// Whether an `O` is made of a `V` by the copy of a number, or of a string.
fn is_quick<V, O: 'static>() -> bool {
    let view = type_name::<V>();
    match view.strip_prefix('&') {
        None => false,
        // Not `&String`: a user's crate may be called `alloc`.
        Some("str") => TypeId::of::<O>() == TypeId::of::<String>(),
        Some(referent) => is_plain::<O>() && referent == type_name::<O>(),
    }
}

/// Compares the stored form of a [`Part`].
#[derive(Debug)]
pub struct SamePart<O>(fn(&O, &O) -> bool);

impl<O> Clone for SamePart<O> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<O> Copy for SamePart<O> {}

impl<O: 'static> Same<O> for SamePart<O> {
    fn same(&self, a: &O, b: &O) -> bool {
        (self.0)(a, b)
    }
}

/// The place of an argument that `#[cfg]` has removed.
pub fn no_part() -> Part<(), ()> {
    Part { view: (), hash: |_, _| {}, eq: |_, _| true, own: |_| (), same: |_, _| true }
}

macro_rules! tuple {
    ($($key:ident $same:ident $owned:ident $index:tt),*) => {
        impl<$($key: Key),*> Key for ($($key,)*) {
            type Owned = ($($key::Owned,)*);
            type Same = ($($key::Same,)*);

            fn is_free() -> bool {
                true $(&& $key::is_free())*
            }

            fn is_quick() -> bool {
                true $(&& $key::is_quick())*
            }

            fn hash(&self, _hasher: &mut KeyHasher) {
                $(self.$index.hash(_hasher);)*
            }

            fn eq(&self, _owned: &Self::Owned) -> bool {
                true $(&& self.$index.eq(&_owned.$index))*
            }

            #[allow(non_snake_case, reason = "the type parameters name the elements")]
            fn into_owned(self) -> (Self::Owned, Self::Same) {
                $(let ($owned, $same) = self.$index.into_owned();)*
                (($($owned,)*), ($($same,)*))
            }
        }

        impl<$($owned: 'static, $same: Same<$owned>),*> Same<($($owned,)*)> for ($($same,)*) {
            fn same(&self, _a: &($($owned,)*), _b: &($($owned,)*)) -> bool {
                true $(&& self.$index.same(&_a.$index, &_b.$index))*
            }

            /// As the arguments of a call.
            fn show(_key: &($($owned,)*), _f: &mut fmt::Formatter<'_>) -> fmt::Result
            where
                ($($owned,)*): 'static,
            {
                $(
                    if $index > 0 {
                        _f.write_str(", ")?;
                    }
                    $same::show(&_key.$index, _f)?;
                )*
                Ok(())
            }
        }
    };
}

tuple!();
tuple!(K0 S0 O0 0, K1 S1 O1 1);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2, K3 S3 O3 3);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2, K3 S3 O3 3, K4 S4 O4 4);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2, K3 S3 O3 3, K4 S4 O4 4, K5 S5 O5 5);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2, K3 S3 O3 3, K4 S4 O4 4, K5 S5 O5 5, K6 S6 O6 6);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2, K3 S3 O3 3, K4 S4 O4 4, K5 S5 O5 5, K6 S6 O6 6, K7 S7 O7 7);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2, K3 S3 O3 3, K4 S4 O4 4, K5 S5 O5 5, K6 S6 O6 6, K7 S7 O7 7, K8 S8 O8 8);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2, K3 S3 O3 3, K4 S4 O4 4, K5 S5 O5 5, K6 S6 O6 6, K7 S7 O7 7, K8 S8 O8 8, K9 S9 O9 9);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2, K3 S3 O3 3, K4 S4 O4 4, K5 S5 O5 5, K6 S6 O6 6, K7 S7 O7 7, K8 S8 O8 8, K9 S9 O9 9, K10 S10 O10 10);
tuple!(K0 S0 O0 0, K1 S1 O1 1, K2 S2 O2 2, K3 S3 O3 3, K4 S4 O4 4, K5 S5 O5 5, K6 S6 O6 6, K7 S7 O7 7, K8 S8 O8 8, K9 S9 O9 9, K10 S10 O10 10, K11 S11 O11 11);

/// What can be an element of a `#[reduceable]` key.
///
/// Every `Hash + Eq + Clone + Send + Sync + 'static` type is; there is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a `#[reduceable]` key",
    label = "part of the key, but not `Hash + Eq + Clone + Send + Sync`",
    note = "leave it out of the key with `skip(..)`, or say what identifies a call with `key = ..`"
)]
pub trait KeyPart: Hash + Eq + Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Hash + Eq + Clone + Send + Sync + 'static> KeyPart for T {}

/// What can be an element of a `#[reduceable]` key behind a reference, stored as `O`.
///
/// `O` is a parameter, for a failing projection would be a second error.
#[diagnostic::on_unimplemented(
    message = "`&{Self}` cannot be part of a `#[reduceable]` key",
    label = "part of the key, but `{Self}` is not `Hash + Eq + Clone + Send + Sync`",
    note = "leave it out of the key with `skip(..)`, or say what identifies a call with `key = ..`"
)]
pub trait KeyPartRef<O> {
    /// `Hash::hash`.
    fn hash_ref(&self, hasher: &mut KeyHasher);
    /// Compares with the stored form.
    fn eq_ref(&self, owned: &O) -> bool;
    /// Makes the stored form.
    fn own_ref(&self) -> O;
    /// Compares two stored forms.
    fn same_ref(a: &O, b: &O) -> bool;
}

#[diagnostic::do_not_recommend]
impl<B, O> KeyPartRef<O> for B
where
    B: ?Sized + Hash + Eq + ToOwned<Owned = O>,
    O: Borrow<B> + Send + Sync + 'static,
{
    fn hash_ref(&self, hasher: &mut KeyHasher) {
        self.hash(hasher);
    }

    fn eq_ref(&self, owned: &O) -> bool {
        *self == *owned.borrow()
    }

    fn own_ref(&self) -> O {
        self.to_owned()
    }

    fn same_ref(a: &O, b: &O) -> bool {
        *a.borrow() == *b.borrow()
    }
}

/// What can be the `self` of a `#[reduceable]` method.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be part of a `#[reduceable]` key",
    label = "part of the key like any argument, but not `Hash + Eq + Clone + Send + Sync`",
    note = "each instance for itself: take `self: &Arc<Self>`, or write `key = (ByPtr(&self.inner), ..)` for an `Arc` in a field",
    note = "all instances together: write `skip(self)`"
)]
pub trait KeySelf: KeyPart {}

#[diagnostic::do_not_recommend]
impl<T: KeyPart> KeySelf for T {}

/// The part that `self` makes.
pub fn self_part<T: KeySelf>(this: &T) -> Part<&T, T> {
    part_by_value(this)
}

fn part_by_value<T: KeyPart>(value: &T) -> Part<&T, T> {
    Part {
        view: value,
        hash: |value, hasher| value.hash(hasher),
        eq: |value, owned| **value == *owned,
        own: T::clone,
        same: |a, b| a == b,
    }
}

/// Finds the part that an argument makes: `probe(&argument).part()`.
pub fn probe<T>(argument: &T) -> Probe<'_, T> {
    Probe(ProbeRef(ProbeVal(argument)))
}

/// First step: what brings an equality of its own.
#[derive(Debug)]
pub struct Probe<'a, T>(ProbeRef<'a, T>);

impl<T: ViaSpecial> Probe<'_, T> {
    /// The part that the argument makes.
    pub fn part(&self) -> Part<T::View, T::Stored> {
        self.0.0.0.special()
    }

    /// What the body needs beside the key, of a reference.
    pub fn lent(&self) -> T::Kept {
        self.0.0.0.keep()
    }
}

impl<'a, T> Deref for Probe<'a, T> {
    type Target = ProbeRef<'a, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Second step: references, which are looked up without being owned.
#[derive(Debug)]
pub struct ProbeRef<'a, T>(ProbeVal<'a, T>);

impl<T: ViaRef> ProbeRef<'_, T> {
    /// The part that the argument makes.
    pub fn part<O>(&self) -> Part<T::View, T::Stored<O>>
    where
        T::Referent: KeyPartRef<O>,
    {
        self.0.0.by_ref()
    }

    /// What the body needs beside the key.
    pub fn lent<O>(&self) -> T::Lent<O> {
        T::lent()
    }
}

impl<'a, T> Deref for ProbeRef<'a, T> {
    type Target = ProbeVal<'a, T>;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Last step: everything else.
#[derive(Debug)]
pub struct ProbeVal<'a, T>(&'a T);

impl<'a, T> ProbeVal<'a, T> {
    /// The part that the argument makes.
    pub fn part(&self) -> Part<&'a T, T>
    where
        T: KeyPart,
    {
        part_by_value(self.0)
    }
}

/// A `'static` reference is kept as it is, not turned into what it points to.
pub fn static_part<T: KeyPart>(reference: &T) -> Part<&T, T> {
    part_by_value(reference)
}

/// Arguments that bring an equality of their own.
pub trait ViaSpecial {
    /// What is looked up.
    type View;
    /// What is stored.
    type Stored;
    /// What the body needs of it beside the key.
    type Kept;
    /// The part.
    fn special(&self) -> Part<Self::View, Self::Stored>;
    /// A copy, if the key has something else.
    fn keep(&self) -> Self::Kept;
}

macro_rules! float {
    ($($float:ty, $bits:ty);*) => { $(
        impl ViaSpecial for $float {
            type View = $bits;
            type Stored = $bits;
            type Kept = KeptFloat<$float>;

            fn keep(&self) -> KeptFloat<$float> {
                KeptFloat(*self)
            }

            /// By bits: a NaN joins the same NaN, `0.0` and `-0.0` stay apart. Only identical calls meet.
            fn special(&self) -> Part<$bits, $bits> {
                Part { view: self.to_bits(), hash: |bits, hasher| bits.hash(hasher), eq: |bits, owned| bits == owned, own: |bits| bits, same: |a, b| a == b }
            }
        }

        impl ViaSpecial for &$float {
            type View = $bits;
            type Stored = $bits;
            type Kept = KeptFloat<$float>;

            fn keep(&self) -> KeptFloat<$float> {
                KeptFloat(**self)
            }

            fn special(&self) -> Part<$bits, $bits> {
                (**self).special()
            }
        }
    )* };
}

float!(f32, u32; f64, u64);

impl<'b, T: ?Sized> ViaSpecial for ByPtr<&'b Arc<T>> {
    type View = ByPtr<&'b Arc<T>>;
    type Stored = ByPtr<Arc<T>>;
    type Kept = ();

    fn keep(&self) {}

    fn special(&self) -> Part<Self::View, Self::Stored> {
        Part {
            view: ByPtr(self.0),
            hash: |view, hasher| view.hash(hasher),
            eq: |view, owned| address(view.0) == address(&owned.0),
            own: |view| ByPtr(Arc::clone(view.0)),
            same: |a, b| a == b,
        }
    }
}

/// References, and options of them.
pub trait ViaRef {
    /// What is hashed and compared.
    type Referent: ?Sized;
    /// What is looked up.
    type View;
    /// What is stored, `O` being what owns a referent.
    type Stored<O>;
    /// What makes the argument of what is stored.
    type Lent<O>;
    /// See above.
    fn lent<O>() -> Self::Lent<O>;
    /// The part.
    fn by_ref<O>(&self) -> Part<Self::View, Self::Stored<O>>
    where
        Self::Referent: KeyPartRef<O>;
}

impl<'b, B: ?Sized> ViaRef for &'b B {
    type Referent = B;
    type View = &'b B;
    type Stored<O> = O;
    type Lent<O> = Lent<B, O>;

    fn lent<O>() -> Lent<B, O> {
        Lent(PhantomData)
    }

    fn by_ref<O>(&self) -> Part<&'b B, O>
    where
        B: KeyPartRef<O>,
    {
        Part {
            view: self,
            hash: |view, hasher| view.hash_ref(hasher),
            eq: |view, owned| view.eq_ref(owned),
            own: B::own_ref,
            same: B::same_ref,
        }
    }
}

impl<'b, B: ?Sized> ViaRef for Option<&'b B> {
    type Referent = B;
    type View = Option<&'b B>;
    type Stored<O> = Option<O>;
    type Lent<O> = LentOption<B, O>;

    fn lent<O>() -> LentOption<B, O> {
        LentOption(PhantomData)
    }

    fn by_ref<O>(&self) -> Part<Option<&'b B>, Option<O>>
    where
        B: KeyPartRef<O>,
    {
        Part {
            view: *self,
            hash: |view, hasher| {
                // As `Option<O>` hashes: its discriminant, then what is in it.
                std::mem::discriminant(view).hash(hasher);
                if let Some(view) = view {
                    view.hash_ref(hasher);
                }
            },
            eq: |view, owned| match (view, owned) {
                (Some(view), Some(owned)) => view.eq_ref(owned),
                (None, None) => true,
                _ => false,
            },
            own: |view| view.map(B::own_ref),
            same: |a, b| match (a, b) {
                (Some(a), Some(b)) => B::same_ref(a, b),
                (None, None) => true,
                _ => false,
            },
        }
    }
}

/// An `Arc` that is identified by its address: `key = (ByPtr(&self.inner), id)`.
///
/// Clones of one handle share their flights, other handles do not, whatever they contain. The key
/// keeps the `Arc`, so a new object can never take the address of one that a flight still means.
#[derive(Clone, Copy, Debug)]
pub struct ByPtr<A>(pub A);

// Without the vtable of a `dyn Trait`, which may differ between two pointers to one object.
fn address<T: ?Sized>(arc: &Arc<T>) -> usize {
    Arc::as_ptr(arc).cast::<()>() as usize
}

impl<T: ?Sized> Hash for ByPtr<&Arc<T>> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        address(self.0).hash(hasher);
    }
}

impl<T: ?Sized> Hash for ByPtr<Arc<T>> {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        address(&self.0).hash(hasher);
    }
}

impl<T: ?Sized> PartialEq for ByPtr<Arc<T>> {
    fn eq(&self, other: &Self) -> bool {
        address(&self.0) == address(&other.0)
    }
}

impl<T: ?Sized> Eq for ByPtr<Arc<T>> {}

/// What the shared call can keep of a borrowed argument, as `O`.
#[diagnostic::on_unimplemented(
    message = "`&{Self}` cannot be kept by the shared call",
    label = "the call outlives its caller and needs its own copy, but `{Self}` is not `Clone`",
    note = "take `Arc<..>` (for `self`, `self: &Arc<Self>`), which is cheap to copy, or derive `Clone`"
)]
pub trait Capture<O> {
    /// Makes the copy.
    fn capture(&self) -> O;
    /// Lends it to the body, which sees the type that the function declared.
    fn reborrow(owned: &O) -> &Self;
}

#[diagnostic::do_not_recommend]
impl<B: ?Sized + ToOwned<Owned = O>, O: Borrow<B>> Capture<O> for B {
    fn capture(&self) -> O {
        self.to_owned()
    }

    fn reborrow(owned: &O) -> &Self {
        owned.borrow()
    }
}

/// A borrowed argument, owned by the shared call.
#[derive(Debug)]
pub struct Kept<B: ?Sized, O> {
    owned: O,
    reborrow: fn(&O) -> &B,
}

impl<B: ?Sized, O> Kept<B, O> {
    /// The argument as the function declared it.
    pub fn get(&self) -> &B {
        (self.reborrow)(&self.owned)
    }
}

/// Keeps a borrowed argument.
pub fn capture<B: ?Sized + Capture<O>, O>(argument: &B) -> Kept<B, O> {
    Kept { owned: argument.capture(), reborrow: B::reborrow }
}

/// An optional borrowed argument, owned by the shared call.
#[derive(Debug)]
pub struct KeptOption<B: ?Sized, O>(Option<Kept<B, O>>);

impl<B: ?Sized, O> KeptOption<B, O> {
    /// The argument as the function declared it.
    pub fn get(&self) -> Option<&B> {
        self.0.as_ref().map(Kept::get)
    }
}

/// Keeps an optional borrowed argument.
pub fn capture_option<B: ?Sized + Capture<O>, O>(argument: Option<&B>) -> KeptOption<B, O> {
    KeptOption(argument.map(capture))
}

/// A borrowed argument that is an element of the key, stored there as `O`: the flight's key lends it to the body, so that
/// the leader makes one copy and not two.
pub struct Lent<B: ?Sized, O>(PhantomData<fn(&O) -> &B>);

// A bound on the type of `get`, and not of all of them, is one error less where `O` is an error already.

impl<B: ?Sized, O> Lent<B, O> {
    /// The argument as the function declared it.
    pub fn get<'a>(&self, element: &'a O) -> &'a B
    where
        B: Capture<O>,
    {
        B::reborrow(element)
    }
}

/// The same of an optional one.
pub struct LentOption<B: ?Sized, O>(PhantomData<fn(&O) -> &B>);

impl<B: ?Sized, O> LentOption<B, O> {
    /// The argument as the function declared it.
    pub fn get<'a>(&self, element: &'a Option<O>) -> Option<&'a B>
    where
        B: Capture<O>,
    {
        element.as_ref().map(B::reborrow)
    }
}

/// A float, of which the key has the bits.
#[derive(Debug)]
pub struct KeptFloat<T>(T);

impl<T> KeptFloat<T> {
    /// The argument as the function declared it.
    pub fn get<O>(&self, _element: &O) -> &T {
        &self.0
    }
}

impl<B: ?Sized, O> fmt::Debug for Lent<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lent")
    }
}

impl<B: ?Sized, O> fmt::Debug for LentOption<B, O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("LentOption")
    }
}

/// What a shared call can result in.
///
/// Every `Clone + Send + Sync + 'static` type is; there is nothing to implement.
#[diagnostic::on_unimplemented(
    message = "the result of a shared call is shared between its callers, but `{Self}` cannot be",
    label = "not `Clone + Send + Sync + 'static`",
    note = "an error that is not `Clone` can be shared as `SharedError`, which `?` makes of any error (`Result<T, SharedError>`), or as `Arc<E>` (`Result<T, Arc<E>>`); a value as `Arc<T>`"
)]
pub trait Output: Clone + Send + Sync + 'static {}

#[diagnostic::do_not_recommend]
impl<T: Clone + Send + Sync + 'static> Output for T {}

/// What a function on terms of its own (`timeout`, `detached`) can result in: what its flight comes to,
/// and what becomes of it otherwise.
#[diagnostic::on_unimplemented(
    message = "`timeout` and `detached` need a function that returns `Result<_, E>` where `E: From<ReduceError>`",
    label = "cannot say that the time is over, or that there is no runtime",
    note = "`Result<_, SharedError>` can: `?` turns every error into a `SharedError`; or write `impl From<ReduceError>` for your error type"
)]
pub trait Fail {
    /// The outcome of a call that got none from its flight.
    fn fail(error: ReduceError) -> Self;
}

#[diagnostic::do_not_recommend]
impl<T, E: From<ReduceError>> Fail for Result<T, E> {
    fn fail(error: ReduceError) -> Self {
        Err(E::from(error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::hash::BuildHasher;

    /// Looks `key` up as the arguments of a function, against `stored` as `forget` would name it.
    fn hashes<K: Key>(key: &K, stored: &impl Hash) -> (u64, u64) {
        let state = ahash::RandomState::new();
        let mut hasher = state.build_hasher();
        key.hash(&mut hasher);
        (hasher.finish(), state.hash_one(stored))
    }

    fn check<K: Key>(key: K, stored: &K::Owned, other: &K::Owned)
    where
        K::Owned: Hash + Eq + std::fmt::Debug,
    {
        let (as_it_is, as_stored) = hashes(&key, stored);
        assert_eq!(as_it_is, as_stored);
        assert!(key.eq(stored) && !key.eq(other));
        let (owned, same) = key.into_owned();
        assert_eq!(owned, *stored);
        assert!(same.same(&owned, stored) && !same.same(&owned, other));
    }

    #[test]
    fn parts_hash_and_compare_as_what_is_stored() {
        check(probe(&7u64).part(), &7, &8);
        check(probe(&"x").part(), &"x".to_owned(), &"y".to_owned());
        check(probe(&&[1u8, 2][..]).part(), &vec![1u8, 2], &vec![1]);
        check(probe(&Some("x")).part(), &Some("x".to_owned()), &None);
        check(probe(&None::<&str>).part(), &None, &Some(String::new()));
        check(probe(&std::path::Path::new("a/b")).part(), &"a/b".into(), &"b".into());
        check(static_part(&"x"), &"x", &"y");
        check(self_part(&'s'), &'s', &'t');
    }

    #[test]
    fn tuples_hash_and_compare_as_what_is_stored() {
        let name = "x".to_owned();
        check((probe(&1u64).part(), probe(&name).part()), &(1, name.clone()), &(2, name.clone()));
        check((probe(&1u64).part(), probe(&"x").part()), &(1, name.clone()), &(1, String::new()));
        let (three, other) = ((1u8, Some(name.clone()), vec![2u8]), (1u8, None, vec![2u8]));
        check(
            (probe(&1u8).part(), probe(&Some("x")).part(), probe(&&[2u8][..]).part()),
            &three,
            &other,
        );
        assert!(Key::eq(&(), &()));
        let (empty, stored) = hashes(&(), &());
        assert_eq!(empty, stored);
    }

    #[test]
    fn floats_are_their_bits() {
        check(probe(&1.5f32).part(), &1.5f32.to_bits(), &2.5f32.to_bits());
        check(probe(&&f64::NAN).part(), &f64::NAN.to_bits(), &0);
        assert!(!probe(&0.0f64).part().eq(&(-0.0f64).to_bits()));
    }

    #[test]
    fn by_ptr_tells_equal_objects_apart_and_keeps_the_one_it_means() {
        let (a, b): (Arc<str>, Arc<str>) = ("x".into(), "x".into());
        let (stored, other) = (ByPtr(Arc::clone(&a)), ByPtr(b));
        check(probe(&ByPtr(&a)).part(), &stored, &other);
        check(probe(&ByPtr(Arc::clone(&a))).part(), &stored, &other);
        let (kept, _) = probe(&ByPtr(&a)).part().into_owned();
        assert_eq!(Arc::strong_count(&kept.0), 3);
    }

    #[test]
    fn borrowed_arguments_are_kept_and_lent_again() {
        assert_eq!(capture("x").get(), "x");
        assert_eq!(capture(&[1, 2][..]).get(), [1, 2]);
        assert_eq!(capture_option(Some("x")).get(), Some("x"));
        assert_eq!(capture_option(None::<&str>).get(), None);
    }
}
