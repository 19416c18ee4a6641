//! Faults of several replicas and of their PostgreSQL: processes are killed, frozen, stopped, cut
//! off, or compete for locks. Nothing that was acknowledged is lost, nothing is done twice, and no
//! callback waits longer than EvoLink does.
//!
//! The tests run real processes of the program on a real server. A client that logs every answer is
//! the oracle.

mod follower;
mod processes;
mod readers;
mod server;
mod sessions;
mod three;
