//! The log as it grows, for those who wait for news of it.

pub mod news;
