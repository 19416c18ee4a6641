//! Files that hold secrets: the key ring of the callback tokens, signing secrets, and files that
//! the configuration names. Nothing here prints their contents.

pub mod key_ring;
pub mod secret_file;
pub mod signing_files;
