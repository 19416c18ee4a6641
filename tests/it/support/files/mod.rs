//! Hosts of result files that behave as a test wants, and small files for them.

pub mod kept;
mod origin;
mod place;
mod samples;

pub use origin::{Given, Origin};
pub use place::archive_in;
pub use samples::png;
