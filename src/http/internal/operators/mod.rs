//! The routes for operators: health, status, metrics, deliveries, the archive and the quarantine.

pub mod archive;
pub mod deliveries;
pub mod detail;
pub mod endpoint_test;
pub mod health;
pub mod outside;
pub mod quarantine;
pub mod readiness;
pub mod status;
