//! The retry schedule of a delivery: ten attempts in about a day, with growing gaps. Each gap is
//! random, from zero to twice its average (full jitter), so that deliveries that failed together
//! spread out.

use std::time::Duration;

use crate::domain::timestamp::Timestamp;

/// The average gap after the first attempt, after the second, and so on. There is none after the
/// last.
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

/// The number of attempts before a delivery is dead.
pub const ATTEMPTS_MAX: u32 = 10;
const _: () = assert!(GAPS.len() + 1 == ATTEMPTS_MAX as usize);

/// The longest gap, as a multiple of its average.
const SPREAD: f64 = 2.0;

/// The bounds of a `Retry-After`.
pub const RETRY_AFTER_MIN: Duration = Duration::from_secs(1);
pub const RETRY_AFTER_MAX: Duration = Duration::from_hours(1);

/// An allowance for clocks that differ, on top of the longest gap.
const PLAN_GRACE: Duration = Duration::from_hours(1);

/// Returns the gap after `attempts` attempts, or `None` if there are no more. `jitter` is a random
/// number from 0 to 1. `retry_after` can only make the gap longer. Otherwise an endpoint could use
/// up ten attempts in ten seconds.
pub fn gap(attempts: u32, jitter: f64, retry_after: Option<Duration>) -> Option<Duration> {
    let average = GAPS.get((attempts as usize).checked_sub(1)?)?;
    let gap = average.mul_f64(SPREAD * jitter.clamp(0.0, 1.0));
    let delay = retry_after.map(|delay| delay.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX));
    Some(gap.max(delay.unwrap_or_default()))
}

/// Whether a delivery that was scheduled for `at` is due. A time beyond the horizon was scheduled
/// by a clock that was far ahead, and might never be reached. So it counts as due.
pub fn is_due(at: Timestamp, now: Timestamp) -> bool {
    at <= now || at > horizon(now)
}

/// A time later than any that is scheduled at `now`.
pub fn horizon(now: Timestamp) -> Timestamp {
    now.after(GAPS[GAPS.len() - 1].mul_f64(SPREAD) + PLAN_GRACE)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Timestamp = Timestamp::from_millis(1_757_165_031_007);

    #[test]
    fn gaps_are_spread_evenly_from_nothing_to_twice_their_average() {
        for (attempts, average) in (1..).zip(GAPS) {
            let mut tenths = [0_u32; 10];
            for step in 0..10_000 {
                let gap = gap(attempts, f64::from(step) / 10_000.0, None).unwrap();
                let tenth = gap.as_nanos() * 10 / (2 * average).as_nanos();
                tenths[usize::try_from(tenth).unwrap()] += 1;
            }
            let even = tenths.iter().all(|tenth| (999..=1001).contains(tenth));
            assert!(even, "after {attempts}: {tenths:?}");
        }
    }

    proptest! {
        #[test]
        fn a_gap_is_within_its_bounds_whatever_the_endpoint_wishes(
            attempts in 0..20_u32, jitter in -1.0..2.0_f64, wish in proptest::option::of(any::<u64>()),
        ) {
            let wish = wish.map(Duration::from_millis);
            let gap = gap(attempts, jitter, wish);
            let Some(gap) = gap else {
                prop_assert!(attempts == 0 || attempts >= ATTEMPTS_MAX);
                return Ok(());
            };
            let least = if wish.is_some() { RETRY_AFTER_MIN } else { Duration::ZERO };
            prop_assert!(gap >= least);
            let average = GAPS[attempts as usize - 1];
            prop_assert!(gap <= (2 * average).max(RETRY_AFTER_MAX));
            if let Some(wish) = wish {
                prop_assert!(gap >= wish.min(RETRY_AFTER_MAX));
            }
        }

        /// Checks that a scheduled attempt is made, and not too early, whatever the clock showed
        /// then and shows now.
        #[test]
        fn a_plan_survives_any_clock(
            attempts in 1..ATTEMPTS_MAX, jitter in 0.0..1.0_f64, wish in proptest::option::of(any::<u32>()),
            jump in -400_000_000_000_i64..400_000_000_000,
        ) {
            let gap = gap(attempts, jitter, wish.map(|wish| Duration::from_secs(wish.into()))).unwrap();
            let due = NOW.after(gap);
            // Times are in milliseconds, so a shorter gap is over at once.
            prop_assert!(gap.as_millis() == 0 || !is_due(due, NOW));
            prop_assert!(is_due(due, due));
            // The clock jumps right after the attempt was scheduled. The attempt is due now, or
            // within the longest possible gap.
            let then = Timestamp::from_millis(NOW.as_millis() + jump);
            prop_assert!(is_due(due, then) || due <= horizon(then));
        }
    }
}
