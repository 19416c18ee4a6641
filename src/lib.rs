//! evolink-receiver: receives EvoLink's callbacks, keeps every task's outcome durably and exactly once,
//! and hands it to apps. Read the modules in the order in which they stand here.

pub mod app;
pub mod domain;
pub mod evolink;
pub mod http;
pub mod store;
pub mod workers;

pub mod clock;
pub mod config;
pub mod exit;
pub mod key_ring;
pub mod metrics;
pub mod process;
pub mod telemetry;

pub mod cli;
pub mod commands;

pub mod simulator;
