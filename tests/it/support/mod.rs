//! Tools that several stories share. A story imports from here and from itself, and no tool imports
//! from a story.

pub mod app;
pub mod campaign;
pub mod deliveries;
pub mod described;
pub mod events;
pub mod files;
pub mod machine;
pub mod net;
pub mod process;
pub mod recorder;
pub mod store;
pub mod until;
