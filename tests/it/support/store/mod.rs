//! The store of a test, on either engine: where it is, what is in it, and what must hold for it.

pub mod check;
pub mod database;
pub mod postgres;
pub mod schema;
mod test_store;

pub use test_store::{TestStore, is_postgres};
