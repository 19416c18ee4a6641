//! The integration tests: one binary, one module per story.

mod listener;
mod listener_framing;
mod support;
mod tls;
//! One binary for all integration tests; one module per story.
//! One binary for all tests that look at the program from outside; one module a story.

mod cli;
mod config;
//! The tests through real sockets: one binary, one module a story.

mod simulator;
