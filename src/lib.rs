//! evolink-receiver: receives EvoLink's callbacks, keeps every task's outcome durably and exactly
//! once, and passes it on to apps. Read the modules in the order in which they are listed here.

// The path of a callback: how it arrives, what it means, where it is kept.
pub mod http;

pub mod domain;

pub mod store;

// Submits, calls to EvoLink, deliveries, result files, background work, and `app`, which builds all
// of it.
pub mod submit;

pub mod evolink;

pub mod egress;

pub mod archive;

// What `check --online` and a running service test of themselves.
pub mod self_test;

pub mod workers;

// The task object as apps see it, whichever way they get it.
pub mod task_object;

pub mod app;

pub mod config;

pub mod secrets;

pub mod observe;

pub mod background;
pub mod clock;
pub mod exit;
pub mod files;
pub mod pauses;
pub mod process;
pub mod retry_after;
pub mod secret_file;
pub mod turns;

pub mod cli;
pub mod commands;

pub mod simulator;
