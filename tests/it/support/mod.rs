//! What the stories share.

pub mod app;
pub mod certificates;
pub mod echo;
pub mod needs;
pub mod raw;
pub mod raw_server;
pub mod until;
