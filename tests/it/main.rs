//! The integration tests: one binary, one module per story.

mod listener;
mod listener_framing;
mod support;
mod tls;
