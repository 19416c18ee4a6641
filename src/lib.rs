//! evolink-receiver: receives EvoLink's callbacks, keeps every task's outcome durably and exactly once,
//! and hands it to apps. Read the modules in the order in which they stand here.

// How a callback comes in, what it means, where it is kept.
pub mod http;

pub mod domain;

pub mod store;

// How a task is asked of EvoLink, what happens when no callback comes, and who puts all of it together.
pub mod evolink;

pub mod egress;

pub mod workers;

// How a task is shown to apps, by whatever way.
mod task_object;

pub mod app;

mod backup_places;
pub mod clock;
pub mod config;
pub mod exit;
pub mod key_ring;
pub mod metrics;
pub mod process;
mod secret_file;
pub mod signing_files;
pub mod telemetry;
pub mod untrusted;

pub mod cli;
pub mod commands;

pub mod simulator;
