//! The serve loop of both listeners: from a socket to a request, within limits. `listener` accepts,
//! `connection` runs hyper, and `framing` stands between hyper and a router. Knows no routes.

pub mod admission;
pub mod body;
pub mod bounded_io;
pub mod connection;
pub mod framing;
pub mod handshake;
pub mod limits;
pub mod listener;
pub mod peer;
pub mod progress;
