//! When a delivery is tried again: ten attempts in about a day, the gaps growing, each spread over twice its length from
//! nothing on (full jitter), so that what failed together does not come again together.

use std::time::Duration;

use crate::domain::timestamp::Timestamp;

/// What is waited on average after the first attempt, the second, … . After the last there is none.
const GAPS: [Duration; 9] = [
    Duration::from_secs(1),
    Duration::from_secs(5),
    Duration::from_secs(30),
    Duration::from_mins(2),
    Duration::from_mins(10),
    Duration::from_hours(1),
    Duration::from_hours(3),
    Duration::from_hours(8),
    Duration::from_hours(12),
];

/// Attempts before a delivery is dead.
pub const ATTEMPTS_MAX: u32 = 10;
const _: () = assert!(GAPS.len() + 1 == ATTEMPTS_MAX as usize);

/// A gap is from nothing to so many times its average.
const SPREAD: f64 = 2.0;

/// What an endpoint's `Retry-After` counts as, at least and at most.
const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// By how much more than the longest gap a plan may lie ahead, for clocks that differ.
const PLAN_GRACE: Duration = Duration::from_hours(1);

/// How long to wait after `attempts` attempts; `None` if there are no more. `jitter`: from 0 to 1, by chance. What the
/// endpoint wishes only makes it longer: else ten attempts would be over in ten of its seconds.
pub fn gap(attempts: u32, jitter: f64, retry_after: Option<Duration>) -> Option<Duration> {
    let average = GAPS.get((attempts as usize).checked_sub(1)?)?;
    let gap = average.mul_f64(SPREAD * jitter.clamp(0.0, 1.0));
    let wish = retry_after.map(|wish| wish.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX));
    Some(gap.max(wish.unwrap_or_default()))
}

/// Whether what was planned for `at` is due. What lies further ahead than any plan of ours was planned by a clock that was
/// far ahead, and would never come.
pub fn is_due(at: Timestamp, now: Timestamp) -> bool {
    at <= now || at > horizon(now)
}

/// Beyond all that is planned at `now`.
pub fn horizon(now: Timestamp) -> Timestamp {
    now.after(GAPS[GAPS.len() - 1].mul_f64(SPREAD) + PLAN_GRACE)
}
