//! How it comes in: the serve loop with its limits, and certificates. Arrows point from here to `store`, `evolink` and
//! `domain`; `http` and `workers` do not know each other.

mod admission;
mod bounded_io;
mod certificate;
mod connection;
mod framing;

pub mod body;
pub mod limits;
pub mod listener;
pub mod tls;
