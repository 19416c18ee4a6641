//! The background workers. All of them run in `run_loop`.

pub mod archiver;
pub mod forwarder;
pub mod janitor;
pub mod reconciler;
pub mod run_loop;
pub mod upkeep;

mod breaker;
mod polled;
