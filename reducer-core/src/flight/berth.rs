//! Where the work lies: in the flight's own allocation, behind its hull, pinned until it is done. Then what it came to
//! lies there, if several want it.
//!
//! Only whoever has the seat (`word.rs`) touches it, so there is no lock; an outcome is only read once the flight is over. Two things are to be argued,
//! and each function asks for both: *the seat*, which gives the work to one thread at a time, and *the
//! place*, memory that nothing moves the work out of.
//!
//! Once it is on its way there, nobody but a [`Kit`] knows the type of the work.
//!
//! # Why
//! A `Pin<Box<F>>` behind a mutex needs no `unsafe`, and costs every call a second allocation (the
//! contract allows one) and three more lock operations. loom checks the seat: this is its `UnsafeCell`.
//!
//! A `Flight<K, V, F>` and trait objects of it need less, and are compiled for every function in a program
//! that is under the attribute. DESIGN.md has the figures.
#![allow(
    unsafe_code,
    reason = "puts the work behind its flight, and pins it; the module's text says what that buys"
)]

use std::alloc::{Layout, alloc, dealloc, handle_alloc_error};
use std::any::TypeId;
use std::future::Future;
use std::marker::PhantomData;
use std::mem::{self, ManuallyDrop, MaybeUninit, offset_of};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::atomic::Ordering;
use std::task::{Context, Poll};

use super::{
    Core, Hold, Hull, Hulled, Kind, Named, Open, Outcome, Row, Rows, SiteId, Tail, id, is_same,
    quietly, step,
};
use crate::key::Same;
use crate::sync::UnsafeCell;

/// What only whoever has the seat may touch.
pub(super) struct Seated<T>(UnsafeCell<T>);

// SAFETY: a `&Seated` alone gives no access; whoever has the seat has the only one, and takes it from the
// last holder through the flight's word. So what is here is only ever sent, not shared.
unsafe impl<T: Send> Sync for Seated<T> {}

impl<T> Seated<T> {
    pub(super) fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// # Safety
    /// The caller has the seat, and `act` does not come back here.
    #[inline]
    pub(super) unsafe fn with<U>(&self, act: impl FnOnce(&mut T) -> U) -> U {
        // SAFETY: the seat.
        self.0.with_mut(|value| act(unsafe { &mut *value }))
    }

    /// # Safety
    /// Nobody writes any more.
    #[inline(always)]
    unsafe fn read(&self) -> T
    where
        T: Copy,
    {
        // SAFETY: what nobody writes may be read.
        self.0.with(|value| unsafe { *value })
    }
}

/// What there is to know of a flight with work of one type, for those who don't know it.
pub(super) struct Kit {
    /// Of hull and berth.
    whole: Layout,
    /// The same, and a tail.
    with_tail: Layout,
    /// Of the work.
    work: Layout,
    /// What the work is.
    id: fn() -> TypeId,
    /// What key and value are.
    pub(super) kind: Kind,
    /// Which function the flight is of, as a `Site` has it.
    pub(super) site: fn() -> SiteId,
    /// Where the berth begins, in bytes from where the hull does.
    berth: usize,
    /// The hull of a flight.
    pub(super) hull: unsafe fn(*mut Core) -> *mut dyn Hulled,
    /// Drops the key of a flight, if that is anything to be done.
    drop_key: Option<unsafe fn(*mut Core)>,
    /// See [`step`].
    #[cfg_attr(not(all(feature = "tokio", not(loom))), expect(dead_code, reason = "for a task"))]
    pub(super) step: fn(&Hold, &mut Context<'_>, &Rows) -> Poll<()>,
    /// Polls the work that lies there, and writes what comes of it over a `Poll` of its output.
    poll: unsafe fn(*mut (), &mut Context<'_>, *mut ()),
    /// Moves the work that lies at the first place to the second. A move of known size is a few instructions.
    load: unsafe fn(*const (), *mut ()),
    /// Drops the work that lies there.
    drop: unsafe fn(*mut ()),
    /// Drops the outcome that lies there.
    drop_outcome: unsafe fn(*mut ()),
}

impl Kit {
    /// Of a flight, with a tail or not.
    #[inline(always)]
    fn layout(&self, has_tail: bool) -> Layout {
        if has_tail { self.with_tail } else { self.whole }
    }

    /// # Safety
    /// The flight has a tail.
    #[inline(always)]
    unsafe fn tail(&self, flight: *mut Core) -> *mut Tail {
        // SAFETY: in the same allocation, where `with_tail` has it.
        unsafe { flight.byte_add(tail_at(self.whole)).cast() }
    }
}

/// How far from a flight of this layout its tail is, if it has one.
#[inline(always)]
const fn tail_at(whole: Layout) -> usize {
    whole.size().next_multiple_of(align_of::<Tail>())
}

/// The layout of such a flight with a tail.
const fn with_tail(whole: Layout) -> Layout {
    match whole.extend(Layout::new::<Tail>()) {
        Ok((layout, at)) if at == tail_at(whole) => layout.pad_to_align(),
        _ => panic!("no work is as large as the address space"),
    }
}

/// What lies in the berth of a flight.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Aboard {
    /// Not yet, or not any more, or it went to the one caller there was.
    #[default]
    Nothing,
    /// Until it is done.
    Work,
    /// What it came to. Final.
    Outcome,
}

/// How a flight lies in memory.
#[repr(C)]
struct Whole<K, V, S, F> {
    hull: Hull<K, V, S>,
    berth: Berth<V, F>,
}

/// First the work, then what it came to.
#[repr(C)]
union Berth<V, F> {
    _work: ManuallyDrop<F>,
    _outcome: ManuallyDrop<Outcome<V>>,
}

/// A flight of such types, of the site `N`.
struct Of<K, V, S, F, N>(PhantomData<(Whole<K, V, S, F>, N)>);

// A flight is sent and shared, and its work is sent: `Hold` relies on the bounds.
impl<K, V, S, F, N> Of<K, V, S, F, N>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Same<K>,
    F: Future<Output = V> + Send + 'static,
    N: Named,
{
    const KIT: Kit = Kit {
        whole: Layout::new::<Whole<K, V, S, F>>(),
        with_tail: with_tail(Layout::new::<Whole<K, V, S, F>>()),
        work: Layout::new::<F>(),
        id: id::<F>,
        kind: Kind::of::<K, V>(),
        site: N::id,
        berth: offset_of!(Whole<K, V, S, F>, berth),
        hull: hull::<K, V, S>,
        drop_key: if mem::needs_drop::<K>() { Some(drop_key::<K>) } else { None },
        step: step::<V>,
        poll: poll::<F>,
        load: load::<F>,
        drop: drop_in_place::<F>,
        drop_outcome: drop_in_place::<Outcome<V>>,
    };
}

// Functions of what they are of, and not of all of `Whole`: those would be compiled for each work.

/// See [`Kit`].
fn hull<K, V, S>(core: *mut Core) -> *mut dyn Hulled
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Same<K>,
{
    core.cast::<Hull<K, V, S>>()
}

/// See [`Kit`].
unsafe fn drop_key<K>(core: *mut Core) {
    // SAFETY: such a key comes after the core, and is not used after this.
    unsafe { ptr::drop_in_place(&raw mut (*core.cast::<Keyed<K>>()).key) };
}

/// See [`Kit`].
unsafe fn load<F>(from: *const (), to: *mut ()) {
    // SAFETY: a work lies there, and only here from now on.
    unsafe { ptr::copy_nonoverlapping(from.cast::<F>(), to.cast(), 1) };
}

/// See [`Kit`].
unsafe fn drop_in_place<T>(there: *mut ()) {
    // SAFETY: such a thing lies there, and is not used after this.
    unsafe { ptr::drop_in_place(there.cast::<T>()) };
}

/// See [`Kit`].
unsafe fn poll<F: Future>(work: *mut (), cx: &mut Context<'_>, polled: *mut ()) {
    // SAFETY: a work lies there, and nothing moves it. Nothing to be dropped is written over.
    unsafe {
        polled.cast::<Poll<F::Output>>().write(Pin::new_unchecked(&mut *work.cast::<F>()).poll(cx))
    };
}

/// The loan of a flight's key to its own work. It keeps nothing alive, and is not counted: the work goes before its flight. If
/// a loan is still out when the flight ends, it was taken out of the work, and then the flight's memory is never given back.
pub(crate) struct Loan(NonNull<Core>);

// SAFETY: a loan gives the key, by reference, and a flight's keys may be shared.
unsafe impl Send for Loan {}
// SAFETY: as above.
unsafe impl Sync for Loan {}

impl Loan {
    /// The key, if it is a `K`.
    #[inline(always)]
    pub(crate) fn key<K: 'static>(&self) -> Option<&K> {
        // SAFETY: the flight is there for as long as the loan is out: see `scrap`. Not dropped: no count was taken.
        let flight =
            ManuallyDrop::new(unsafe { Hold::from_raw(self.0.as_ptr().cast_const().cast()) });
        // SAFETY: as above; the key never changes.
        flight.key::<K>().map(|key| unsafe { &*ptr::from_ref(key) })
    }
}

impl Drop for Loan {
    #[inline]
    fn drop(&mut self) {
        // Release: the key is looked at no more.
        // SAFETY: as in `key`; this is the last that the loan does.
        unsafe { self.0.as_ref() }.lent.store(false, Ordering::Release);
    }
}

/// Work on its way into a flight with keys `K` by `S` and values `V`, or the room for it.
pub(crate) struct Cargo<'a, K, V, S> {
    kit: &'static Kit,
    /// Null if there is only the room.
    work: *mut (),
    /// The memory at `work` is the cargo's, too.
    boxed: bool,
    from: PhantomData<&'a mut ()>,
    flight: PhantomData<Hull<K, V, S>>,
}

// SAFETY: all that it owns is the work, and `of` asks for one that may be sent.
unsafe impl<K, V, S> Send for Cargo<'_, K, V, S> {}

impl<K, V, S> Cargo<'_, K, V, S>
where
    K: Send + Sync + 'static,
    V: Send + Sync + 'static,
    S: Same<K>,
{
    /// # Safety
    /// `work` is null, or what is there is the cargo's from now on, to be moved or dropped there as long as the cargo lives.
    #[inline(always)]
    unsafe fn of<F, N>(work: *mut F) -> Self
    where
        F: Future<Output = V> + Send + 'static,
        N: Named,
    {
        Self {
            kit: &Of::<K, V, S, F, N>::KIT,
            work: work.cast(),
            boxed: false,
            from: PhantomData,
            flight: PhantomData,
        }
    }

    /// Gives `work` to `act`, which takes `with` along. No closure: it would be compiled for each work.
    #[inline]
    pub(crate) fn send<F, N, T, U>(
        work: F,
        act: for<'b> fn(T, Cargo<'b, K, V, S>) -> U,
        with: T,
    ) -> U
    where
        F: Future<Output = V> + Send + 'static,
        N: Named,
    {
        let mut work = ManuallyDrop::new(work);
        // SAFETY: nobody but the cargo has it from here on.
        act(with, unsafe { Cargo::of::<F, N>((&raw mut work).cast()) })
    }

    /// No work yet: it will be an `F`.
    pub(crate) fn later<F, N>() -> Self
    where
        F: Future<Output = V> + Send + 'static,
        N: Named,
    {
        // SAFETY: null.
        unsafe { Self::of::<F, N>(ptr::null_mut()) }
    }

    /// A flight whose leader is in the seat, with the work aboard, or to board yet; and its row. Runs no user code.
    #[inline(always)]
    pub(crate) fn launch(self, hash: u32, wrap: u32, tail: Option<Tail>, key: K) -> (Hold, Row) {
        let kit = self.kit;
        // First the memory: what is made after that is made where it stays.
        let flight = allocate(kit.layout(tail.is_some()));
        // SAFETY: the kit is of these types, so there is room for each. The hull is `repr(C)` and begins with its
        // core.
        unsafe {
            let aboard = if self.work.is_null() { Aboard::Nothing } else { Aboard::Work };
            let core = Core::new(hash, wrap, kit, aboard, tail.is_some());
            flight.cast::<Hull<K, V, S>>().write(Hull::new(core, key));
            self.unload(flight.byte_add(kit.berth));
            if let Some(tail) = tail {
                kit.tail(flight.cast()).write(tail);
            }
            Hold::both(flight.cast())
        }
    }
}

impl<K, V, S> Cargo<'_, K, V, S> {
    /// All of it, for another hand.
    #[inline(always)]
    pub(crate) fn take(&mut self) -> Self {
        let work = mem::replace(&mut self.work, ptr::null_mut());
        Self { work, ..*self }
    }

    /// The same, apart from where it was.
    pub(crate) fn into_box(self) -> Cargo<'static, K, V, S> {
        let Self { kit, .. } = self;
        let work = if self.work.is_null() { ptr::null_mut() } else { allocate(kit.work) };
        let boxed = Cargo { kit, work, boxed: true, from: PhantomData, flight: PhantomData };
        // SAFETY: there is room, if there is work.
        unsafe { self.unload(work) };
        boxed
    }

    /// The work that it is only the room for, built apart.
    ///
    /// # Panics
    /// If nothing was built.
    pub(crate) fn built(
        self,
        build: impl for<'r> FnOnce(Room<'r>) -> Option<Full<'r>>,
    ) -> Cargo<'static, K, V, S> {
        let Self { kit, .. } = self;
        let mut room = Apart { kit, memory: allocate(kit.work) };
        let is_full = build(Room::new(kit, room.memory)).is_some();
        assert!(is_full, "there is nothing to be begun");
        let work = mem::replace(&mut room.memory, ptr::null_mut());
        Cargo { kit, work, boxed: true, from: PhantomData, flight: PhantomData }
    }

    /// Moves the work to `place`, if there is one.
    ///
    /// # Safety
    /// If there is one, there is room for it.
    #[inline(always)]
    unsafe fn unload(self, place: *mut ()) {
        let cargo = ManuallyDrop::new(self);
        if cargo.work.is_null() {
            return;
        }
        // SAFETY: the work is the cargo's, which is not dropped: from here on it is only there.
        unsafe {
            (cargo.kit.load)(cargo.work, place);
            cargo.free();
        }
    }

    /// Gives back what memory the cargo has.
    ///
    /// # Safety
    /// Only once, and if there is work, then it is not used after this.
    unsafe fn free(&self) {
        if self.boxed && !self.work.is_null() {
            // SAFETY: `into_box` allocated it.
            unsafe { deallocate(self.work, self.kit.work) };
        }
    }
}

/// Room for work that is built apart. Given back if it stays empty.
struct Apart {
    kit: &'static Kit,
    /// Null once another has it.
    memory: *mut (),
}

impl Drop for Apart {
    fn drop(&mut self) {
        if !self.memory.is_null() {
            // SAFETY: `built` allocated it, and nothing is in it, or what is there is leaked.
            unsafe { deallocate(self.memory, self.kit.work) };
        }
    }
}

impl<K, V, S> Drop for Cargo<'_, K, V, S> {
    fn drop(&mut self) {
        /// The memory goes even if the work's destructor panics.
        struct Free<'a, 'b, K, V, S>(&'a Cargo<'b, K, V, S>);
        impl<K, V, S> Drop for Free<'_, '_, K, V, S> {
            fn drop(&mut self) {
                // SAFETY: once, and last.
                unsafe { self.0.free() };
            }
        }
        if !self.work.is_null() {
            let _free = Free(self);
            // SAFETY: the work is the cargo's, and never left it.
            unsafe { (self.kit.drop)(self.work) };
        }
    }
}

/// Where a work is to lie that has yet to be built. Who is given one has it for any lifetime, so what says that a room is full
/// says it of this one.
pub(crate) struct Room<'a> {
    id: fn() -> TypeId,
    at: *mut (),
    one: One<'a>,
}

/// A lifetime that is no other's.
type One<'a> = PhantomData<fn(&'a ()) -> &'a ()>;

/// That the work lies in its room.
pub(crate) struct Full<'a>(One<'a>);

impl<'a> Room<'a> {
    #[inline(always)]
    fn new(kit: &Kit, at: *mut ()) -> Self {
        Self { id: kit.id, at, one: PhantomData }
    }
    /// For an `F`. To be asked before that is built, which then is built where it is to lie.
    ///
    /// # Panics
    /// If it is for another work.
    #[inline]
    pub(crate) fn of<F: 'static>(self) -> RoomOf<'a, F> {
        self.expect(id::<F>);
        RoomOf(self, PhantomData)
    }

    // Apart, for it does not know the work.
    #[inline]
    fn expect(&self, id: fn() -> TypeId) {
        assert!(is_same(self.id, id), "it has room for another work");
    }
}

/// Where a work of this type is to lie.
pub(crate) struct RoomOf<'a, F>(Room<'a>, PhantomData<fn(F)>);

impl<'a, F> RoomOf<'a, F> {
    #[inline(always)]
    pub(crate) fn fill(self, work: F) -> Full<'a> {
        // SAFETY: whoever makes a room has it for one such work.
        unsafe { self.0.at.cast::<F>().write(work) };
        Full(self.0.one)
    }
}

/// Work that waits where it is for its flight.
pub(crate) struct Ready<F> {
    work: MaybeUninit<F>,
    is_here: bool,
}

impl<F: Future> Ready<F> {
    pub(crate) fn new(work: F) -> Self {
        Self { work: MaybeUninit::new(work), is_here: true }
    }

    /// Not called twice.
    pub(crate) fn cargo<K, S>(&mut self) -> Cargo<'_, K, F::Output, S>
    where
        K: Send + Sync + 'static,
        S: Same<K>,
        F: Future<Output: Send + Sync + 'static> + Send + 'static,
    {
        let is_here = mem::take(&mut self.is_here);
        assert!(is_here, "no flight is begun twice");
        // SAFETY: it was here.
        unsafe { Cargo::of::<F, Open<F>>(self.work.as_mut_ptr()) }
    }
}

impl<F> Drop for Ready<F> {
    fn drop(&mut self) {
        if self.is_here {
            // SAFETY: it is here.
            unsafe { self.work.assume_init_drop() };
        }
    }
}

/// How the hull of any flight with keys `K` begins.
#[repr(C)]
struct Keyed<K> {
    core: Core,
    key: K,
}

impl Hold {
    /// # Safety
    /// The flight is one with keys `K`.
    #[inline(always)]
    pub(super) unsafe fn key_unchecked<K>(&self) -> &K {
        // SAFETY: both are `repr(C)` and begin with a core and then such a key, which never changes.
        unsafe { &(*self.as_ptr().cast::<Keyed<K>>()).key }
    }

    /// Stores what the work came to, where the work was. By who has the seat, before the flight is over.
    ///
    /// # Safety
    /// The caller has the seat, and the flight is one with values `V`.
    pub(super) unsafe fn store_unchecked<V>(&self, outcome: Outcome<V>) {
        // SAFETY: the seat. The kit has room for it, and nothing is written over.
        unsafe {
            let is_free = self.core().aboard.with(|aboard| *aboard == Aboard::Nothing);
            assert!(is_free, "a flight lands once, when its work is gone");
            self.berth().cast::<Outcome<V>>().write(outcome);
            self.core().aboard.with(|aboard| *aboard = Aboard::Outcome);
        }
    }

    /// What the flight came to, if it was stored.
    ///
    /// # Safety
    /// The flight is over, and is one with values `V`.
    #[inline(always)]
    pub(super) unsafe fn outcome_unchecked<V>(&self) -> Option<&Outcome<V>> {
        // SAFETY: who stored it did so before the flight was over; from then on both are only read, until the last hold
        // is gone.
        unsafe {
            (self.core().aboard.read() == Aboard::Outcome)
                .then(|| &*self.berth().cast_const().cast())
        }
    }

    #[inline(always)]
    pub(super) fn tail(&self) -> Option<&Tail> {
        // SAFETY: a flight that has one has it there for as long as it lives, and nobody has it to themselves.
        self.core().has_tail.then(|| unsafe { &*self.core().kit.tail(self.as_ptr()) })
    }

    /// Where the work lies, or will, and then the outcome.
    #[inline]
    fn berth(&self) -> *mut () {
        let core = self.as_ptr();
        // SAFETY: in the same allocation.
        unsafe { core.cast::<u8>().add(self.core().kit.berth).cast() }
    }

    /// Lends the key to the work. By the leader, who builds it.
    ///
    /// # Panics
    /// If it is lent.
    #[inline]
    pub(crate) fn lend(&self) -> Loan {
        let lent = &self.core().lent;
        // Relaxed, and no swap: who has the seat is alone in this.
        assert!(!lent.load(Ordering::Relaxed), "there is one work");
        lent.store(true, Ordering::Relaxed);
        // SAFETY: never null.
        Loan(unsafe { NonNull::new_unchecked(self.as_ptr()) })
    }

    /// Takes in the work that `build` puts there, if it does. By the leader, of a flight launched with a cargo for a
    /// `later` one, before it is polled.
    #[inline]
    pub(crate) fn board(&self, build: impl for<'r> FnOnce(Room<'r>) -> Option<Full<'r>>) {
        let core = self.core();
        if build(Room::new(core.kit, self.berth())).is_some() {
            // SAFETY: a flight is made with its leader in the seat.
            let was = unsafe { core.aboard.with(|aboard| mem::replace(aboard, Aboard::Work)) };
            debug_assert_eq!(was, Aboard::Nothing, "a flight is boarded once");
        }
    }

    /// Polls the work. If it is done, `polled` has what it came to, and then it is dropped, which may panic.
    ///
    /// # Safety
    /// The caller has the seat, and `V` is what the work comes to.
    #[inline]
    pub(super) unsafe fn poll_work<V>(&self, cx: &mut Context<'_>, polled: &mut Poll<V>) {
        let core = self.core();
        let poll = |aboard: &mut Aboard| {
            assert!(*aboard == Aboard::Work, "it stays until it is done, and then nobody polls");
            debug_assert!(polled.is_pending(), "it would be written over");
            // SAFETY: there is work, which comes to a `V`; the place, for it is the flight's.
            unsafe { (core.kit.poll)(self.berth(), cx, ptr::from_mut(polled).cast()) };
        };
        // SAFETY: the seat. Whatever the work calls, it has it not. The cell is held meanwhile, for loom to see.
        unsafe { core.aboard.with(poll) };
        if polled.is_ready() {
            // SAFETY: still the seat.
            unsafe { self.clear() };
        }
    }

    /// Drops what lies in the berth.
    ///
    /// # Safety
    /// The caller has the seat, and the flight is not over, or nobody else has it.
    #[inline]
    pub(super) unsafe fn clear(&self) {
        let kit = self.core().kit;
        // SAFETY: the seat. A destructor that panics leaves nothing behind all the same.
        unsafe {
            match self.core().aboard.with(mem::take) {
                Aboard::Nothing => {}
                Aboard::Work => (kit.drop)(self.berth()),
                Aboard::Outcome => (kit.drop_outcome)(self.berth()),
            }
        }
    }

    /// The last of a flight: what lies in its berth, its hull and its memory. All of it goes, whatever panics.
    ///
    /// # Safety
    /// This is the last hold, and not used after this.
    #[inline(always)]
    pub(super) unsafe fn scrap(&self) {
        let (flight, kit) = (self.as_ptr(), self.core().kit);
        // SAFETY: nobody else is there, so all of it is ours once no loan is out.
        unsafe {
            // As a rule there is nothing but memory, and a key.
            if !self.is_lent() && (*flight).is_bare() {
                (*flight).raze();
                if let Some(drop_key) = kit.drop_key {
                    quietly(|| drop_key(flight));
                }
                dealloc(flight.cast(), kit.whole);
            } else {
                self.scrap_all();
            }
        }
    }

    /// See [`scrap`](Self::scrap).
    #[inline(never)]
    unsafe fn scrap_all(&self) {
        // SAFETY: nobody else is there, so nobody else has the seat.
        quietly(|| unsafe { self.clear() });
        if self.is_lent() {
            // Somebody has the loan, and may look at the key.
            return;
        }
        let (flight, kit) = (self.as_ptr(), self.core().kit);
        // SAFETY: as in `scrap`. `launch` allocated it.
        unsafe {
            let layout = kit.layout((*flight).has_tail);
            if !(*flight).is_bare() {
                if (*flight).has_tail {
                    quietly(|| ptr::drop_in_place(kit.tail(flight)));
                }
                quietly(|| ptr::drop_in_place(flight));
            } else {
                (*flight).raze();
            }
            if let Some(drop_key) = kit.drop_key {
                quietly(|| drop_key(flight));
            }
            dealloc(flight.cast(), layout);
        }
    }

    #[inline(always)]
    fn is_lent(&self) -> bool {
        // Acquire: pairs with the Release in `Loan::drop`.
        self.core().lent.load(Ordering::Acquire)
    }
}

#[inline]
fn allocate(layout: Layout) -> *mut () {
    if layout.size() == 0 {
        return ptr::without_provenance_mut(layout.align());
    }
    // SAFETY: not of size zero.
    let memory = unsafe { alloc(layout) };
    if memory.is_null() {
        handle_alloc_error(layout);
    }
    memory.cast()
}

/// # Safety
/// `memory` is from `allocate`, with this layout, and not used any more.
#[inline]
unsafe fn deallocate(memory: *mut (), layout: Layout) {
    if layout.size() != 0 {
        // SAFETY: as above.
        unsafe { dealloc(memory.cast(), layout) };
    }
}
