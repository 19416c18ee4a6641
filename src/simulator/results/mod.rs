//! The result files that the simulator serves: their URLs, and the pictures behind them.

pub mod files;
pub mod image;
mod sound;
