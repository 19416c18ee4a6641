//! Tests from outside: one binary, with one module per subject.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "in tests a panic is the report, the clock is real, output is for whoever reads it, and a story is told whole"
)]

mod backup;
mod callbacks;
mod check;
mod cli;
mod client;
mod client_stream;
mod config;
mod deliveries;
mod demo;
mod documents;
mod domain;
mod durability;
mod egress;
mod events;
mod evolink;
mod faults;
mod forward;
mod internal;
mod listener;
mod listener_caps;
mod listener_drain;
mod listener_framing;
mod main_job;
mod quarantine;
mod quoted;
mod reconciler;
mod replica_faults;
mod replicas;
mod simulator;
mod standing;
mod support;
mod tls;
mod tls_reload;
mod upgrade;
mod waiting;
