//! The integration tests: one binary, one module per story.

mod listener;
mod listener_caps;
mod listener_drain;
mod listener_framing;
mod support;
mod tls;
mod tls_reload;
