//! What happens later. What a worker does at a time is bounded, repeatable, and safe to cut off anywhere.

pub mod forwarder;
pub mod reconciler;

mod breaker;

use std::time::Duration;

/// Between two looks of an idle worker, give or take a tenth, so that workers started together do not look at the same moment.
fn pause(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}
