//! The routes for operators: health, status, metrics, deliveries, the archive and the quarantine.

pub mod archive;
pub mod deliveries;
pub mod health;
pub mod quarantine;
pub mod readiness;
pub mod status;
