//! A server that ends, is cut off, or refuses.

mod contention;
mod cut;
mod outage;
mod quiet;
mod settings;
mod slots;
