//! The process: its starts, its stops, and how it is killed.

mod bursts;
mod kill;
mod ready;
mod restarted;
mod start;
mod stop;
mod sweep;
