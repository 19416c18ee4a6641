//! A disk that is full, read-only, failing, or cut off.

mod fsync;
mod full;
mod full_start;
mod power;
mod read_only;
mod shadow;
