//! A recorder without HTTP, and its entries.

pub mod entry;
pub mod news;
pub mod recording;
