//! The integration tests: one binary, one module per story.

mod listener;
mod listener_framing;
mod support;
mod tls;
//! One binary for all integration tests; one module per story.
