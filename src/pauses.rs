//! The growing pauses between tries of something that fails for a while. Jitter makes each up to
//! twice as long, so that what failed together does not come back together.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
use tokio::time::Instant;

/// Returns `times` pauses that double from `min` to `max`.
pub fn growing(min: Duration, max: Duration, times: usize) -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(min)
        .with_max_delay(max)
        .with_max_times(times)
        .with_jitter()
        .build()
}

/// Returns pauses that double from `min` to `max`, until the next one would end after `deadline`.
pub fn growing_until(
    deadline: Instant,
    min: Duration,
    max: Duration,
) -> impl Iterator<Item = Duration> {
    growing(min, max, usize::MAX).take_while(move |pause| Instant::now() + *pause < deadline)
}
