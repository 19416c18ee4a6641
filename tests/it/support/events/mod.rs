//! Readers of the log of events.

pub mod reader;
pub mod readers;
pub mod seen;
