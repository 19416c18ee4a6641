//! Certificates, handshakes, and certificates that are replaced while connections continue.

mod certificates;
mod client;
mod expired;
mod handshakes;
mod internal;
mod on_this_machine;
mod refusals;
mod reload;
