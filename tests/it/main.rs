//! Tests from outside: one binary, one module for each story.

mod cli;
mod config;
mod domain;
mod evolink;
mod listener;
mod listener_caps;
mod listener_drain;
mod listener_framing;
mod simulator;
mod support;
mod tls;
mod tls_reload;
