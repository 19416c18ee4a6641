//! Certificates, handshakes, and certificates that are replaced while connections continue.

mod certificates;
mod client;
mod expired;
mod handshakes;
mod refusals;
mod reload;
