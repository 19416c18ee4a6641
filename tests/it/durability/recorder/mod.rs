//! The recorder and its database, without a process.

mod batches;
mod bench;
mod mark;
mod schema;
mod vanished;
