//! One error, many holders.

#[cfg(feature = "anyhow")]
use std::any::Any;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

/// Any error, made cheap to clone, so that all callers of a flight can have it.
///
/// `?` turns every error into it: your own types, `Box<dyn Error + Send + Sync>`, `anyhow::Error`, even
/// a plain string. It shows, and finds, what it was made from. Like `anyhow::Error` it is not itself a
/// [`std::error::Error`] (that is what lets `?` take them all); [`into_std`](Self::into_std) gives one.
///
/// ```
/// use reducer_core::SharedError;
///
/// fn port(text: &str) -> Result<u16, SharedError> {
///     Ok(text.parse()?)
/// }
///
/// let error = port("eighty").unwrap_err();
/// assert_eq!(error.to_string(), "invalid digit found in string");
/// assert!(error.downcast_ref::<std::num::ParseIntError>().is_some());
/// let twin = error.clone(); // one allocation, shared
/// assert_eq!(twin.to_string(), error.to_string());
/// ```
#[derive(Clone)]
pub struct SharedError(Inner);

#[derive(Clone)]
enum Inner {
    Std(Arc<dyn Error + Send + Sync>),
    /// Kept whole: turned into a `Box<dyn Error>` it would no longer tell what it was made from.
    #[cfg(feature = "anyhow")]
    Anyhow(Arc<anyhow::Error>),
}

impl SharedError {
    /// Shares `error`. The same as `SharedError::from(error)`.
    pub fn new(error: impl Into<Self>) -> Self {
        error.into()
    }

    fn get(&self) -> &(dyn Error + Send + Sync + 'static) {
        match &self.0 {
            Inner::Std(error) => &**error,
            #[cfg(feature = "anyhow")]
            Inner::Anyhow(error) => &***error,
        }
    }

    /// The error beneath the original, as its own `source` gives it.
    #[must_use]
    pub fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.get().source()
    }

    /// The original, if it is an `E`.
    #[must_use]
    pub fn downcast_ref<E: Error + Send + Sync + 'static>(&self) -> Option<&E> {
        match &self.0 {
            Inner::Std(error) => error.downcast_ref(),
            #[cfg(feature = "anyhow")]
            Inner::Anyhow(error) => error.downcast_ref(),
        }
    }

    /// Whether the original is an `E`.
    #[must_use]
    pub fn is<E: Error + Send + Sync + 'static>(&self) -> bool {
        self.downcast_ref::<E>().is_some()
    }

    /// A [`std::error::Error`] that shows and sources what the original does, for code that wants one:
    /// `Err(error.into_std())?` in a function that returns `anyhow::Result` or `Box<dyn Error>`.
    #[must_use]
    pub fn into_std(self) -> impl Error + Clone + Send + Sync + 'static {
        StdError(self)
    }
}

impl<E> From<E> for SharedError
where
    E: Into<Box<dyn Error + Send + Sync>> + 'static,
{
    fn from(error: E) -> Self {
        #[cfg(feature = "anyhow")]
        let error = {
            let mut error = Some(error);
            if let Some(found) =
                (&mut error as &mut dyn Any).downcast_mut::<Option<anyhow::Error>>()
            {
                let found = found.take().expect("filled two lines above");
                return Self(Inner::Anyhow(Arc::new(found)));
            }
            error.take().expect("taken only where we returned")
        };
        // What is already shared behind a `StdError` is not wrapped again.
        let boxed: Box<dyn Error + Send + Sync> = error.into();
        match boxed.downcast::<StdError>() {
            Ok(shared) => shared.0,
            Err(boxed) => Self(Inner::Std(boxed.into())),
        }
    }
}

impl AsRef<dyn Error + Send + Sync + 'static> for SharedError {
    fn as_ref(&self) -> &(dyn Error + Send + Sync + 'static) {
        self.get()
    }
}

impl fmt::Debug for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.get(), f)
    }
}

impl fmt::Display for SharedError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self.get(), f)
    }
}

#[derive(Clone, Debug)]
struct StdError(SharedError);

impl fmt::Display for StdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl Error for StdError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.0.source()
    }
}
