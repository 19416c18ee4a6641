//! evolink-receiver: receives EvoLink's callbacks, keeps every task's outcome durably and exactly once,
//! and hands it to apps. Read the modules in the order in which they stand here.
pub mod clock;
pub mod domain;
pub mod store;

pub mod http;
pub mod evolink;

pub mod cli;
pub mod commands;
pub mod config;
pub mod exit;
pub mod telemetry;

pub mod simulator;
