//! Result files: fetches them from EvoLink's hosts, judges their content, and keeps them.
//!
//! A file is kept whole or not at all, under the SHA-256 of its bytes. This module knows neither
//! the database nor the API: the caller decides what is fetched, and records what was kept.

pub mod content;
mod digest;
pub mod fetch;
mod fetches;
pub mod storage;

pub use digest::{Digest, Hasher};
pub use fetches::{Fetches, Running};
