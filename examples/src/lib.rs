//! The examples are in `examples/`; they share nothing, so that each can be read on its own.
