//! The two databases: their connections, and statements whose text both of them run. Knows nothing of
//! tasks.

pub mod location;
pub mod postgres;
pub mod rows;
pub mod schema;
pub mod script;
pub mod sqlite;
pub mod writer;
