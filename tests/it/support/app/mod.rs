//! A whole receiver in this process: the real `App` with its real listeners, TLS and store in its
//! own folder.

pub mod answer;
mod builder;
pub mod callback_body;
pub mod desk;
pub mod quarantine;
mod running;
pub mod shelf;
pub mod wait_races;
pub mod waiting;

pub use builder::{EVOLINK_KEY, START, TestAppBuilder};
pub use running::TestApp;
