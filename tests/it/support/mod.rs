//! What the stories share.

pub mod certificates;
pub mod echo;
pub mod raw;
