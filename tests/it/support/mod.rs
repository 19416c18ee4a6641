//! What the stories share.

pub mod echo;
pub mod raw;
