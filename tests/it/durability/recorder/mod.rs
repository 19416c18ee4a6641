//! The recorder and its database, without a process.

mod batches;
mod bench;
mod contradictions;
mod mark;
mod schema;
mod vanished;
