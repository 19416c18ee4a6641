//! Deliveries to endpoints: the endpoint, its check of signatures, and receivers that deliver to
//! it.

pub mod app;
pub mod endpoint;
pub mod process;
pub mod signatures;
