//! The background workers. Each step of a worker is bounded, can be repeated, and can be
//! interrupted anywhere.

pub mod forwarder;
pub mod reconciler;

mod breaker;

use std::time::Duration;

/// Varies the pause of an idle worker by up to 10 %. So workers that started together do not poll
/// the store at the same moment.
fn pause(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}
