//! Tests from outside: one binary, with one module per subject.

#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    clippy::too_many_lines,
    reason = "in tests a panic is the report, the clock is real, output is for whoever reads it, and a story is told whole"
)]

mod api;
mod archive;
mod backup;
mod callbacks;
mod command;
mod config;
mod dashboard;
mod deliveries;
mod deploy;
mod diagnosis;
mod documents;
mod domain;
mod durability;
mod egress;
mod events;
mod evolink;
mod examples;
mod faults;
mod forward;
mod internal;
mod listener;
mod main_job;
mod quarantine;
mod quoted;
mod reconciler;
mod replica_faults;
mod replicas;
mod retention;
mod shares;
mod simulator;
mod structure;
mod support;
mod tls;
mod upgrade;
mod waiting;
