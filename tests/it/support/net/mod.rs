//! Clients and servers that send exactly the bytes that a test wants, and what they need.

pub mod certificates;
pub mod echo;
pub mod ports;
pub mod raw;
pub mod raw_server;
pub mod tls;
