//! The documented answers to callbacks, and that each is recorded once.

mod contract;
mod hang_up;
mod parallel;
mod records;
mod unavailable;
