//! Deliveries of outcomes: to each endpoint that wants them, signed, at least once, and independent
//! of other endpoints.

mod clocks;
mod contract;
mod endpoints;
mod kill;
mod own;
mod receiver;
mod retries;
mod signatures;
mod stop;
mod stories;
