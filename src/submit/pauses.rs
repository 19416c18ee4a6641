//! The growing pauses between tries.

use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use tokio::time::Instant;

/// Returns pauses that grow from `min` to `max`, until the next one would end after `deadline`.
/// Jitter makes each up to twice as long.
pub fn pauses_until(
    deadline: Instant,
    min: Duration,
    max: Duration,
) -> impl Iterator<Item = Duration> {
    ExponentialBuilder::default()
        .with_min_delay(min)
        .with_max_delay(max)
        .with_max_times(usize::MAX)
        .with_jitter()
        .build()
        .take_while(move |pause| Instant::now() + *pause < deadline)
}
