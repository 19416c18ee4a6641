//! The rules: tasks, EvoLink's observations of them, and what follows from these.
//!
//! No I/O, no async, no SQL, no axum. Everything here is a value or a pure function, so that the
//! rules can be read, tested and simulated without a machine around them.

pub mod callback_token;
pub mod confirmation;
pub mod delivery;
pub mod egress;
pub mod event;
pub mod event_id;
pub mod generation;
pub mod ids;
pub mod json;
mod members;
pub mod network;
pub mod observation;
pub mod polling;
mod results;
pub mod routes;
mod seen;
pub mod signing;
mod state;
mod status;
pub mod task;
pub mod timestamp;
pub mod token_echo;
