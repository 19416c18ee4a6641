//! What happens later. A worker's unit of work is a tick: bounded, repeatable, and safe to cut off anywhere.

pub mod reconciler;

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

/// What a tick found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// There may be more to do at once.
    More,
    Idle,
}

/// Between two looks of an idle worker, give or take a tenth, so that workers started together do not look at the same moment.
fn pause(interval: Duration) -> Duration {
    interval.mul_f64(0.9 + 0.2 * fastrand::f64())
}

/// Waits for `duration`, or until `stop`.
async fn rest(duration: Duration, stop: &CancellationToken) {
    let _ = stop.run_until_cancelled(sleep(duration)).await;
}
