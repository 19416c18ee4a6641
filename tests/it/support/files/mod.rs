//! Hosts of result files that behave as a test wants, and small files for them.

mod origin;
mod samples;

pub use origin::{Given, Origin};
pub use samples::png;
