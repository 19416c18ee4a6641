//! The rules: tasks, EvoLink's observations of them, and what follows from these.
//!
//! No I/O, no async, no SQL, no axum. Everything here is a value or a pure function, so that the
//! rules can be read, tested and simulated without a machine around them.

pub mod callback;
pub mod delivery;
pub mod egress;
pub mod event;
pub mod generation;
pub mod ids;
pub mod json;
pub mod key_use;
pub mod kind;
pub mod observation;
pub mod reason;
pub mod result_file;
pub mod task;
pub mod timestamp;
