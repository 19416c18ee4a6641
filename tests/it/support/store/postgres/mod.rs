//! A PostgreSQL server for one test, and PgBouncer in front of it.

mod cluster;
pub mod machine;
mod options;
pub mod pooler;

pub use cluster::Cluster;
pub use options::{Guard, Options};
