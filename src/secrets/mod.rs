//! The key ring of the callback tokens, and the signing secrets. Nothing here prints them.

pub mod key_ring;
pub mod signing_files;
