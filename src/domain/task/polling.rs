//! Decides when EvoLink is polled about a task. The first poll follows EvoLink's estimate of the
//! time; then the gaps grow.

use std::time::Duration;

use crate::domain::ids::SubmissionId;
use crate::domain::kind::Kind;
use crate::domain::timestamp::Timestamp;

/// The longest gap between two polls of one task, before jitter is added.
const GAP_MAX: Duration = Duration::from_mins(10);

/// The number of doublings after which the gap is certainly at its maximum, whatever it began with.
const DOUBLINGS_MAX: u32 = 16;

/// The gap between two polls of a task that EvoLink did not know, before jitter is added. Such a
/// poll finds nothing unless EvoLink, or the path to it, was wrong for a while.
const RARE_GAP_MAX: Duration = Duration::from_hours(1);

/// The number of rare polls that still fit into a short `give_up_after`.
const RARE_POLLS_MIN: u32 = 4;

/// The longest time by which a lease, or a back-off period of EvoLink, may postpone a poll.
const PLAN_GRACE: Duration = Duration::from_hours(1);
/// The jitter: up to a quarter is added to each gap, so that tasks that were polled together drift
/// apart.
const SPREAD: f64 = 0.25;

/// The pace of polling; `[reconcile]` in the configuration.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    pub first_poll_after: Duration,
    /// The minimum time between two polls of one image task. Each poll of an unfinished task makes
    /// EvoLink query its upstream.
    pub interval_min: Duration,
    pub give_up_after: Duration,
}

impl Pace {
    /// The pace for a task of `kind`.
    #[must_use]
    pub fn of(&self, kind: Option<Kind>) -> Self {
        let gap = match kind {
            None | Some(Kind::Image) => self.interval_min,
            Some(kind @ (Kind::Audio | Kind::Video)) => self.interval_min.max(kind.poll_gap_min()),
        };
        Self {
            interval_min: gap,
            ..*self
        }
    }

    /// The first poll of a task that was accepted at `now`.
    pub fn first_poll(&self, now: Timestamp, estimated_time: Option<Duration>) -> Timestamp {
        let estimated = estimated_time.unwrap_or_default().min(self.give_up_after);
        now.after(self.first_poll_after.max(estimated))
    }

    /// The first poll after an outcome at `now` that may get more results.
    pub fn after_outcome(&self, now: Timestamp) -> Timestamp {
        now.after(self.interval_min)
    }

    /// The next poll of task `id`, which was polled `polls` times, the last time at `now`. The gap
    /// doubles each time.
    pub fn next_poll(&self, now: Timestamp, id: SubmissionId, polls: u32) -> Timestamp {
        let gap = self.gap(polls);
        spread(gap, now, id, polls)
    }

    /// The next poll of an unresolved task that EvoLink did not know when it was last polled.
    pub fn next_rare_poll(&self, now: Timestamp, id: SubmissionId, polls: u32) -> Timestamp {
        let gap = RARE_GAP_MAX.min(self.give_up_after / RARE_POLLS_MIN);
        spread(gap.max(self.interval_min), now, id, polls)
    }

    fn gap(&self, polls: u32) -> Duration {
        let doublings = polls.saturating_sub(1).min(DOUBLINGS_MAX);
        let doubled = self.interval_min.saturating_mul(1 << doublings);
        doubled.clamp(self.interval_min, self.gap_max())
    }

    /// The earliest poll that a suspicious observation may cause. It is at most `interval_min` from
    /// now, even if the last poll was made by a clock that was ahead of ours.
    pub fn soonest_poll(&self, now: Timestamp, polled_at: Option<Timestamp>) -> Timestamp {
        let soonest = polled_at.map_or(now, |polled| now.max(polled.after(self.interval_min)));
        soonest.min(now.after(self.interval_min))
    }

    /// Whether a poll that was scheduled for `at` is due. A time beyond the horizon was scheduled
    /// by a clock that was years ahead, and might never be reached. So it counts as due.
    pub fn is_due(&self, at: Timestamp, now: Timestamp) -> bool {
        at <= now || at > self.horizon(now)
    }

    /// A time later than any that is scheduled at `now`.
    pub fn horizon(&self, now: Timestamp) -> Timestamp {
        let furthest = self
            .first_poll_after
            .max(self.give_up_after)
            .max(self.gap_max());
        now.after(
            furthest
                .saturating_add(furthest.mul_f64(SPREAD))
                .saturating_add(PLAN_GRACE),
        )
    }

    /// Whether `give_up_after` has passed since `since`, according to the clock.
    pub fn is_long_ago(&self, since: Timestamp, now: Timestamp) -> bool {
        now.since(since) >= self.give_up_after || since > self.horizon(now)
    }

    /// Whether EvoLink had enough time to answer, whatever the clock says. It had if the task was
    /// polled as often as `give_up_after` allows, or if this process has been running for that
    /// long. So no task is given up because the service was down or the clock jumped.
    pub fn has_asked_enough(&self, polls: u32, running: Duration) -> bool {
        running >= self.give_up_after || polls >= self.polls_until_given_up()
    }

    /// The number of polls within `give_up_after` of a task that never ends, if all gaps have the
    /// full jitter.
    fn polls_until_given_up(&self) -> u32 {
        let (mut elapsed, mut polls) = (self.first_poll_after, 0);
        while elapsed < self.give_up_after && polls < DOUBLINGS_MAX {
            polls += 1;
            elapsed = elapsed.saturating_add(self.gap(polls).mul_f64(1.0 + SPREAD));
        }
        let rest = self.give_up_after.saturating_sub(elapsed).as_millis();
        let more = rest / self.gap_max().mul_f64(1.0 + SPREAD).as_millis().max(1);
        polls.saturating_add(u32::try_from(more).unwrap_or(u32::MAX))
    }

    fn gap_max(&self) -> Duration {
        GAP_MAX.max(self.interval_min)
    }
}

/// Returns a time from `gap` to a quarter more than `gap` after `now`. Never earlier, because
/// EvoLink sets the minimum.
fn spread(gap: Duration, now: Timestamp, id: SubmissionId, polls: u32) -> Timestamp {
    now.after(gap.saturating_add(gap.mul_f64(SPREAD * share(id, polls))))
}

/// Returns a number from 0 to 1 that differs for each task and each of its polls. The same
/// arguments always return the same number, so the domain stays free of randomness. Uses the last
/// mixing step of `SplitMix64`, which maps neighbouring inputs to distant outputs.
fn share(id: SubmissionId, polls: u32) -> f64 {
    let mut mixed = id.low_bits() ^ (u64::from(polls) << 32);
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    let high = u32::try_from((mixed ^ (mixed >> 31)) >> 32).unwrap_or(u32::MAX);
    f64::from(high) / f64::from(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACE: Pace = Pace {
        first_poll_after: Duration::from_secs(15),
        interval_min: Duration::from_secs(3),
        give_up_after: Duration::from_hours(24),
    };

    fn id(number: u128) -> SubmissionId {
        let id = SubmissionId::first_at(Timestamp::from_millis(1_757_165_031_007));
        let text = id
            .to_string()
            .replace("000000000000", &format!("{number:012x}"));
        text.parse().unwrap()
    }

    fn gap(id: SubmissionId, polls: u32) -> Duration {
        let now = Timestamp::from_millis(0);
        PACE.next_poll(now, id, polls).since(now)
    }

    #[test]
    fn gaps_grow_from_the_minimum_to_the_maximum_and_are_spread_upwards_only() {
        let wanted = [3, 6, 12, 24, 48, 96, 192, 384, 600, 600, 600, 600, 600];
        for number in 0..1000 {
            for (polls, seconds) in (1..).zip(wanted).chain([(0, 3), (u32::MAX, 600)]) {
                let (gap, least) = (gap(id(number), polls), Duration::from_secs(seconds));
                assert!(
                    gap >= least && gap <= least.mul_f64(1.0 + SPREAD),
                    "{polls}: {gap:?}"
                );
            }
        }
        let slow = Pace {
            interval_min: Duration::from_hours(1),
            ..PACE
        };
        let now = Timestamp::from_millis(0);
        assert!(slow.next_poll(now, id(1), 9).since(now) >= slow.interval_min);
        let endless = Pace {
            interval_min: Duration::MAX,
            ..PACE
        };
        assert_eq!(
            endless.next_poll(now, id(1), 9),
            Timestamp::from_millis(i64::MAX)
        );
    }

    #[test]
    fn rare_polls_come_every_hour_or_four_times_before_a_task_is_given_up() {
        let (now, minute) = (Timestamp::from_millis(0), Duration::from_mins(1));
        for (give_up_after, gap) in [(24 * 60, 60), (60, 15), (2, 2)] {
            let pace = Pace {
                give_up_after: minute * give_up_after,
                interval_min: 2 * minute,
                ..PACE
            };
            for number in 0..100 {
                let waited = pace.next_rare_poll(now, id(number), 7).since(now);
                assert!(
                    waited >= minute * gap && waited <= (minute * gap).mul_f64(1.0 + SPREAD),
                    "{waited:?}"
                );
                assert!(!pace.is_due(now.after(waited), now));
            }
        }
    }

    #[test]
    fn tasks_that_were_asked_about_together_are_spread_evenly_and_always_alike() {
        let mut tenths = [0_u32; 10];
        for number in 0..10_000 {
            let gap = gap(id(number), 9);
            assert_eq!(gap, super::tests::gap(id(number), 9));
            let beyond = u32::try_from(gap.as_millis() - 600_000).unwrap();
            tenths[(beyond / 15_001) as usize] += 1;
        }
        assert!(
            tenths.iter().all(|tenth| (800..1200).contains(tenth)),
            "{tenths:?}"
        );
        let of_one: std::collections::HashSet<Duration> =
            (9..29).map(|polls| gap(id(1), polls)).collect();
        assert!(of_one.len() > 15, "{of_one:?}");
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
    fn a_plan_of_a_clock_that_was_years_ahead_is_due() {
        let now = Timestamp::from_millis(1_757_165_031_007);
        let years = Duration::from_hours(10 * 365 * 24);
        assert!(PACE.is_due(now, now) && PACE.is_due(now.after(years), now));
        let longest = PACE.first_poll(now, Some(years));
        for planned in [
            PACE.next_poll(now, id(1), 1),
            PACE.next_poll(now, id(1), 99),
            longest,
        ] {
            assert!(!PACE.is_due(planned, now), "{planned}");
        }
        let soonest = PACE.soonest_poll(now, Some(now.after(years)));
        assert_eq!(soonest, now.after(PACE.interval_min));
        assert!(
            PACE.is_long_ago(now.before(years), now) && PACE.is_long_ago(now.after(years), now)
        );
        assert!(!PACE.is_long_ago(now.before(Duration::from_hours(23)), now));
    }

    #[test]
    fn a_task_is_not_given_up_before_evolink_was_asked_for_as_long() {
        let day = Duration::from_hours(24);
        assert!(!PACE.has_asked_enough(20, Duration::from_hours(1)));
        assert!(PACE.has_asked_enough(0, day));
        // Count the polls that are made in a day, one after the other.
        let (mut at, mut polls) = (PACE.first_poll_after, 0);
        while at < day {
            polls += 1;
            at += PACE.gap(polls).mul_f64(1.0 + SPREAD);
        }
        assert!(PACE.has_asked_enough(polls, Duration::ZERO), "{polls}");
        assert!(!PACE.has_asked_enough(polls - 3, Duration::ZERO), "{polls}");
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
