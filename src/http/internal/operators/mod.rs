//! The routes for operators: health, metrics, deliveries and the quarantine.

pub mod deliveries;
pub mod health;
pub mod quarantine;
pub mod readiness;
