//! evolink-receiver: receives EvoLink's callbacks, keeps every task's outcome durably and exactly
//! once, and passes it on to apps. Read the modules in the order in which they are listed here.

// The path of a callback: how it arrives, what it means, where it is kept.
pub mod http;

pub mod domain;

pub mod store;

// Calls to EvoLink, deliveries, background work, and `app`, which builds all of it.
pub mod evolink;

pub mod egress;

pub mod workers;

// The task object as apps see it, whichever way they get it.
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
