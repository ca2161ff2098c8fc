//! A line for each event.

use std::fmt;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::{Call, Hooks};

/// Writes a line for each event, to standard error or anything else. Mirrors `async-reduce`'s hooks of this name.
///
/// A line begins with the function, the key (as [`Call::key`] shows it) and the flight's number. Each is
/// written in one go. That it cannot be written disturbs nobody.
///
/// # Examples
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() {
/// use reducer_core::{DebugHooks, Reducer};
/// use std::sync::{Arc, Mutex};
///
/// # #[derive(Clone, Default)]
/// # struct Lines(Arc<Mutex<Vec<u8>>>);
/// # impl std::io::Write for Lines {
/// #     fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> { self.0.lock().unwrap().write(bytes) }
/// #     fn flush(&mut self) -> std::io::Result<()> { Ok(()) }
/// # }
/// let lines = Lines::default(); // an `io::Write` that can be looked at
/// let reducer = Reducer::builder().hooks(DebugHooks::to(lines.clone())).build();
/// reducer.reduce(7, async { "row" }).await;
/// let lines = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
/// let lines: Vec<_> = lines.lines().collect();
/// assert!(lines[0].contains("(7) #") && lines[0].ends_with("] apply reduce()"));
/// assert!(lines[1].ends_with("] executing"));
/// assert!(lines[2].ends_with("] result: \"row\""));
/// # }
/// ```
#[derive(Clone)]
pub struct DebugHooks(Arc<Mutex<dyn Write + Send>>);

impl DebugHooks {
    /// To standard error.
    #[must_use]
    pub fn new() -> Self {
        Self::to(io::stderr())
    }

    /// To `writer`, which is not to call the reducer: it is asked for one line at a time.
    #[must_use]
    pub fn to(writer: impl Write + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(writer)))
    }

    fn line(&self, call: &Call<'_>, event: fmt::Arguments<'_>) {
        let (function, key, number) = (call.function(), call.key(), call.flight());
        let line = format!("[{function}({key}) #{number}] {event}\n");
        let mut writer = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        // Nobody could be told.
        let _ = writer.write_all(line.as_bytes()).and_then(|()| writer.flush());
    }
}

impl Default for DebugHooks {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for DebugHooks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DebugHooks").finish_non_exhaustive()
    }
}

impl Hooks for DebugHooks {
    fn on_apply(&self, call: &Call<'_>) {
        self.line(call, format_args!("apply reduce()"));
    }

    fn on_executing(&self, call: &Call<'_>) {
        self.line(call, format_args!("executing"));
    }

    fn on_reducing(&self, call: &Call<'_>) {
        self.line(call, format_args!("reducing"));
    }

    fn on_result(&self, call: &Call<'_>) {
        match call.value() {
            Some(value) => self.line(call, format_args!("result: {value}")),
            None => self.line(call, format_args!("result")),
        }
    }

    fn on_error(&self, call: &Call<'_>) {
        match (call.error(), call.value()) {
            (Some(error), _) => self.line(call, format_args!("get error: {error}")),
            (None, Some(value)) => self.line(call, format_args!("get error: {value}")),
            (None, None) => self.line(call, format_args!("get error")),
        }
    }

    fn on_cancelled(&self, call: &Call<'_>) {
        self.line(call, format_args!("cancelled"));
    }

    fn on_refused(&self, call: &Call<'_>) {
        self.line(call, format_args!("refused"));
    }

    fn measures(&self) -> bool {
        false
    }
}
