//! `#[reduceable]` on generic functions and in generic impls: each instantiation for itself.
#![deny(warnings)]

use std::hash::Hash;
use std::marker::PhantomData;

use reducer_core::{KeyPart, Output, reduceable};
use reducer_tests::{begin, runs};
use tokio::join;

fn sendable<F: Future + Send>(future: F) -> F {
    future
}

// Row 7.
#[reduceable]
async fn made<T: Default + Clone + Send + Sync + 'static>(id: u8) -> T {
    let _ = id;
    begin("made").await;
    T::default()
}

#[tokio::test(start_paused = true)]
async fn instantiations_of_one_function_never_meet() {
    let (number, text, again) = join!(sendable(made::<u8>(1)), made::<String>(1), made::<u8>(1));
    assert_eq!((number, text.as_str(), again), (0, "", 0));
    assert_eq!(runs("made"), 2);
}

#[tokio::test(start_paused = true)]
async fn instantiations_that_differ_only_inside_never_meet() {
    trait Named: 'static {
        const NAME: &'static str;
    }
    struct Left;
    struct Right;
    impl Named for Left {
        const NAME: &'static str = "left";
    }
    impl Named for Right {
        const NAME: &'static str = "right";
    }
    #[reduceable]
    async fn name<T: Named>(id: u8) -> &'static str {
        let _ = id;
        begin("name").await;
        T::NAME
    }
    assert_eq!(join!(name::<Left>(1), name::<Right>(1)), ("left", "right"));
    assert_eq!(runs("name"), 2);
}

#[reduceable]
async fn array<const N: usize, T>(x: [T; N]) -> usize
where
    T: Hash + Eq + Clone + Send + Sync + 'static,
{
    begin("array").await;
    x.len()
}

#[reduceable]
async fn into(x: impl Into<String> + Hash + Eq + Clone + Send + Sync + 'static) -> String {
    begin("into").await;
    x.into()
}

#[reduceable]
async fn as_ref(x: &(impl AsRef<str> + Hash + Eq + Clone + Send + Sync + 'static)) -> usize {
    begin("as_ref").await;
    x.as_ref().len()
}

#[tokio::test(start_paused = true)]
async fn const_generics_and_impl_trait_arguments_are_generics_like_any() {
    join!(array([1u8, 2]), array([1u8]), array([1u8]));
    assert_eq!(runs("array"), 2);
    join!(into("a"), into("a"), into("a".to_string()));
    assert_eq!(runs("into"), 2);
    let owned = "a".to_string();
    join!(as_ref(&"a"), as_ref(&"a"), as_ref(&owned));
    assert_eq!(runs("as_ref"), 2);
}

// Row 4.
trait Tr<'a> {}
impl Tr<'_> for u8 {}

#[reduceable]
async fn early_bound<'a, 'b: 'a, T: Tr<'a> + Hash + Eq + Clone + Send + Sync + 'static>(
    x: &'a str,
    y: &'b str,
    t: T,
) -> usize {
    let _ = t;
    begin("early_bound").await;
    x.len() + y.len()
}

#[tokio::test(start_paused = true)]
async fn early_bound_lifetimes_are_no_instantiations() {
    let short = String::from("q");
    assert_eq!(join!(early_bound(&short, "b", 1u8), early_bound("q", "b", 1u8)), (2, 2));
    assert_eq!(runs("early_bound"), 1);
}

// Row 8.
struct Cell<T, const N: usize>(PhantomData<T>);

impl<T: Default + Clone + Send + Sync + 'static, const N: usize> Cell<T, N> {
    #[reduceable]
    async fn get(id: u8) -> Option<T> {
        let _ = id;
        begin("Cell::get").await;
        Some(T::default())
    }
}

#[tokio::test(start_paused = true)]
async fn the_generics_of_an_impl_tell_calls_apart_though_the_function_does_not_name_them() {
    join!(
        Cell::<u8, 1>::get(1),
        Cell::<u8, 2>::get(1),
        Cell::<u16, 1>::get(1),
        sendable(Cell::<u8, 1>::get(1)),
    );
    assert_eq!(runs("Cell::get"), 3);
}

#[derive(Clone, Debug, Hash, PartialEq, Eq)]
struct Id(u8);

trait Assoc {
    type Out;
}

impl Assoc for u8 {
    type Out = u16;
}

impl Id {
    #[reduceable]
    async fn new(id: u8) -> Self {
        begin("Id::new").await;
        Self(id)
    }

    #[reduceable]
    async fn projected(id: u8) -> <u8 as Assoc>::Out {
        begin("Id::projected").await;
        id.into()
    }
}

trait Scale: Hash + Eq + Clone + Send + Sync + 'static {
    #[allow(async_fn_in_trait, reason = "that is the test")]
    #[reduceable]
    async fn scale(&self, by: u8) -> u8 {
        begin("Scale::scale").await;
        by
    }
}

impl Scale for Id {}
impl Scale for u8 {}

#[tokio::test(start_paused = true)]
async fn self_types_projections_and_default_methods_work() {
    assert_eq!(join!(Id::new(3), Id::new(3)), (Id(3), Id(3)));
    assert_eq!(join!(Id::projected(3), Id::projected(3)), (3, 3));
    assert_eq!((runs("Id::new"), runs("Id::projected")), (1, 1));
    // A default method is one function for each type that has it.
    join!(Id(1).scale(1), Id(1).scale(1), 1u8.scale(1), Id(2).scale(1));
    assert_eq!(runs("Scale::scale"), 3);
}

// Row 46: the bounds that rustc suggests are enough.
#[reduceable]
async fn suggested<K: KeyPart, V: Output + Default>(key: K) -> V {
    let _ = key;
    begin("suggested").await;
    V::default()
}

#[tokio::test(start_paused = true)]
async fn the_bounds_that_the_refusal_suggests_are_enough() {
    join!(suggested::<u8, u8>(1), suggested::<u8, u8>(1), suggested::<u16, u8>(1));
    assert_eq!(runs("suggested"), 2);
}

// Row 23.
#[reduceable]
async fn outer<T: Default + Clone + Send + Sync + 'static>(id: u8) -> T {
    #[reduceable]
    async fn inner(id: u8) -> u8 {
        begin("inner").await;
        id
    }
    inner(id).await;
    T::default()
}

#[tokio::test(start_paused = true)]
async fn a_function_inside_of_a_generic_one_is_shared_by_its_instantiations() {
    join!(outer::<u8>(1), outer::<String>(1), outer::<u8>(1));
    assert_eq!(runs("inner"), 1);
}

#[reduceable]
#[allow(non_camel_case_types, clippy::builtin_type_shadow, reason = "its name")]
async fn named_like_a_number<u64>(id: u64, name: &str) -> usize
where
    u64: Clone + Hash + Eq + Send + Sync + AsRef<str> + 'static,
{
    begin("named_like_a_number").await;
    id.as_ref().len() + name.len()
}

#[tokio::test(start_paused = true)]
async fn a_type_parameter_may_be_called_as_a_number_is() {
    let call = || named_like_a_number("id".to_owned(), "name");
    assert_eq!(join!(call(), call()), (6, 6));
    assert_eq!(runs("named_like_a_number"), 1);
}
