//! Tools that the tests share.

pub mod app;
pub mod certificates;
pub mod database;
pub mod echo;
pub mod faketime;
pub mod needs;
pub mod own_network;
pub mod postgres;
pub mod raw;
pub mod raw_server;
pub mod shelf;
pub mod store;
pub mod until;
