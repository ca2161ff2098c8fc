//! Values shown without knowing their type: the common ones are recognised, the rest reads `_`.

use std::any::{Any, type_name};
use std::borrow::Cow;
use std::fmt::{self, Write as _};
use std::hash::{Hash, Hasher};
use std::mem;
use std::sync::Arc;

use crate::error::SharedError;

/// Shows the common types, alone, in an `Option`, a `Vec` or a `Result`.
pub(crate) fn any(value: &dyn Any, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    macro_rules! known {
        ($($type:ty)*) => {
            $(if let Some(shown) = as_one_of::<$type>(value, f) {
                return shown;
            })*
        };
    }
    known! {
        () bool char
        u8 u16 u32 u64 u128 usize
        i8 i16 i32 i64 i128 isize
        f32 f64
        String &'static str Arc<str> Box<str> Cow<'static, str>
        std::time::Duration std::net::IpAddr std::net::SocketAddr std::path::PathBuf
    }
    f.write_char('_')
}

fn as_one_of<T: fmt::Debug + 'static>(
    value: &dyn Any,
    f: &mut fmt::Formatter<'_>,
) -> Option<fmt::Result> {
    macro_rules! forms {
        ($($form:ty)*) => {
            $(if let Some(value) = value.downcast_ref::<$form>() {
                return Some(fmt::Debug::fmt(value, f));
            })*
        };
    }
    forms! {
        T Option<T> Vec<T>
        Result<T, ()> Result<T, String> Result<T, &'static str> Result<T, SharedError>
    }
    None
}

/// Whether `value` is an `Err`, whatever its types.
///
/// A bound would do, if there were specialisation: any value may be what a flight comes to. So the name of the type
/// says that it is a `Result`, and `mem::discriminant` which of the two. A type that only looks like one is
/// miscounted, no more.
pub(crate) fn is_err<V>(value: &V) -> bool {
    /// Takes what a discriminant feeds it.
    struct Discriminant(u64);

    impl Hasher for Discriminant {
        fn write(&mut self, bytes: &[u8]) {
            self.0 = bytes.iter().rev().fold(0, |number, &byte| number << 8 | u64::from(byte));
        }

        fn write_isize(&mut self, number: isize) {
            self.0 = number as u64;
        }

        fn finish(&self) -> u64 {
            self.0
        }
    }

    let number = |discriminant: &dyn Fn(&mut Discriminant)| {
        let mut number = Discriminant(u64::MAX);
        discriminant(&mut number);
        number.finish()
    };
    type_name::<V>().starts_with("core::result::Result<")
        && number(&|to| mem::discriminant(value).hash(to))
            == number(&|to| mem::discriminant(&Err::<(), ()>(())).hash(to))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::num::NonZeroU8;

    #[test]
    fn an_err_is_told_from_an_ok_whatever_the_types() {
        assert!(is_err(&Err::<u8, u8>(0)));
        assert!(!is_err(&Ok::<u8, u8>(1)));
        // Those that are laid out in another way.
        assert!(is_err(&Err::<&str, ()>(())));
        assert!(!is_err(&Ok::<&str, ()>("")));
        assert!(is_err(&Err::<(), NonZeroU8>(NonZeroU8::MIN)));
        assert!(!is_err(&Ok::<Option<Box<u8>>, String>(None)));
        assert!(is_err(&Err::<Option<Box<u8>>, String>(String::new())));
        assert!(is_err(&Err::<std::convert::Infallible, ()>(())));
    }

    #[test]
    fn nothing_else_is_an_err() {
        assert!(!is_err(&Some(1)));
        assert!(!is_err(&None::<u8>));
        assert!(!is_err(&1_u64));
        assert!(!is_err(&Some(Err::<u8, u8>(1))));
    }

    #[test]
    fn what_is_not_known_reads_as_a_blank() {
        let show = |value: &dyn Any| crate::hooks::Shown::of(value).to_string();
        assert_eq!(show(&7_u64), "7");
        assert_eq!(show(&"seven"), "\"seven\"");
        assert_eq!(show(&Err::<u8, _>("no")), "Err(\"no\")");
        assert_eq!(show(&[1_u8]), "_");
    }
}
