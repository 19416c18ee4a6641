//! The HTTP side: the serve loop with its limits, certificates, and the handlers of both listeners.
//! This module depends on `store`, `evolink` and `domain`. `http` and `workers` do not depend on
//! each other.

// From the socket to a request: accept, decrypt, read within limits. Both listeners use these.
mod admission;
mod bounded_io;
mod connection;
mod framing;
pub mod limits;
pub mod listener;

mod certificate;
pub mod expiry;
pub mod tls;

pub mod body;

// The public listener, which EvoLink reaches.
mod callbacks;
mod extract;
pub mod public;
pub mod unfinished;

// The internal listener, which apps and operators reach.
pub mod auth;
mod credits;
mod deliveries;
mod error;
pub mod events;
mod health;
mod history;
pub mod internal;
mod passed_on;
mod peer;
mod prefer;
mod presence;
mod quarantine;
mod query;
pub mod readiness;
mod recording;
mod repeating;
mod replaying;
mod request_id;
pub mod seats;
mod sending;
mod submission;
mod submit;
mod tasks;
mod waiting;

use crate::task_object;
