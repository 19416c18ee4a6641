//! The small workers that keep the store and its metrics up to date. On each database, some of them
//! are not needed.

pub mod database;
pub mod log;
pub mod periodic;
pub mod poll_only;
pub mod self_tester;
