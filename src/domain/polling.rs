//! When to ask EvoLink about a task: paced by the time that EvoLink estimated, then less and less often.

use std::time::Duration;

use super::timestamp::Timestamp;

/// The longest gap between two polls of one task.
const GAP_MAX: Duration = Duration::from_mins(10);

/// The pace of polling; `[reconcile]` in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub first_poll_after: Duration,
    /// Asking about an unfinished task makes EvoLink ask its upstream each time: never more often than this.
    pub interval_min: Duration,
    pub give_up_after: Duration,
}

impl Pace {
    /// The first poll of a task that was accepted at `now`.
    pub fn first_poll(&self, now: Timestamp, estimated_time: Option<Duration>) -> Timestamp {
        let estimated = estimated_time.unwrap_or_default().min(self.give_up_after);
        now.after(self.first_poll_after.max(estimated))
    }

    /// The next poll of a task that was asked about `polls` times, the last time at `now`: the gap doubles.
    pub fn next_poll(&self, now: Timestamp, polls: u32) -> Timestamp {
        let doubled = self
            .interval_min
            .saturating_mul(1 << polls.saturating_sub(1).min(16));
        now.after(doubled.clamp(self.interval_min, GAP_MAX.max(self.interval_min)))
    }

    /// The soonest poll that something suspicious may ask for.
    pub fn soonest_poll(&self, now: Timestamp, polled_at: Option<Timestamp>) -> Timestamp {
        polled_at.map_or(now, |polled| now.max(polled.after(self.interval_min)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        first_poll_after: Duration::from_secs(15),
        interval_min: Duration::from_secs(3),
        give_up_after: Duration::from_hours(24),
    };

    #[test]
    fn gaps_grow_from_the_minimum_to_the_maximum() {
        let now = Timestamp::from_millis(0);
        let gaps: Vec<u64> = (1..=12)
            .map(|polls| PACE.next_poll(now, polls).since(now).as_secs())
            .collect();
        assert_eq!(gaps, [3, 6, 12, 24, 48, 96, 192, 384, 600, 600, 600, 600]);
        assert_eq!(PACE.next_poll(now, u32::MAX).since(now).as_secs(), 600);
    }

    #[test]
    fn the_first_poll_waits_for_the_estimate_if_that_is_longer() {
        let now = Timestamp::from_millis(0);
        let first = |seconds| {
            PACE.first_poll(now, Some(Duration::from_secs(seconds)))
                .since(now)
                .as_secs()
        };
        assert_eq!(
            (first(10), first(40), first(u64::MAX / 4)),
            (15, 40, 24 * 3600)
        );
    }

    #[test]
    fn suspicion_never_polls_faster_than_the_minimum() {
        let now = Timestamp::from_millis(10_000);
        assert_eq!(PACE.soonest_poll(now, None), now);
        assert_eq!(
            PACE.soonest_poll(now, Some(Timestamp::from_millis(9_000))),
            Timestamp::from_millis(12_000)
        );
    }
}
