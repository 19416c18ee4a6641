//! The two databases: their connections, and statements whose text both of them run. This module
//! does not know tasks.

pub mod location;
pub mod postgres;
pub mod rows;
pub mod schema;
pub mod script;
pub mod sqlite;
pub mod value;
pub mod writer;

use std::time::Duration;

/// The time limit of a whole batch. Callbacks wait for their batch and the one before, and EvoLink
/// disconnects after 10 s.
pub const BATCH_TIMEOUT: Duration = Duration::from_secs(4);
