//! The real program in its own process, where it runs, and the load on it.

pub mod command;
pub mod disk;
pub mod filler;
pub mod load;
pub mod place;
pub mod ready;
mod receiver;
pub mod replica_load;
pub mod terminal;

pub use place::Place;
pub use receiver::Receiver;
