//! The retry schedule of a fetch: after 2 s, 10 s, 1 min and 5 min, then every 15 min until EvoLink
//! offers the file no longer.

use std::time::Duration;

use crate::domain::timestamp::Timestamp;

/// The gap after the first failed fetch, after the second, and so on. The last one repeats.
const GAPS: [Duration; 5] = [
    Duration::from_secs(2),
    Duration::from_secs(10),
    Duration::from_mins(1),
    Duration::from_mins(5),
    Duration::from_mins(15),
];

/// The largest random increase of a gap, as a part of the gap. So files that failed together are
/// fetched again at different times.
const SPREAD: f64 = 0.1;

/// Returns the time of the next fetch after `attempts` failed ones. `None` if that was the last.
/// `jitter` is a random number from 0 to 1. `after` is what the server asked for, and can only make
/// the gap longer. The last fetch is at `offered_until`.
pub fn next(
    attempts: u32,
    jitter: f64,
    after: Option<Duration>,
    now: Timestamp,
    offered_until: Timestamp,
) -> Option<Timestamp> {
    if now >= offered_until {
        return None;
    }
    let index = (attempts.max(1) as usize - 1).min(GAPS.len() - 1);
    let gap = GAPS[index].mul_f64(1.0 + SPREAD * jitter.clamp(0.0, 1.0));
    let gap = gap.max(after.unwrap_or_default());
    Some(now.after(gap).min(offered_until))
}
