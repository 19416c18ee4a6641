//! When to ask EvoLink about a task: paced by the time that EvoLink estimated, then less and less often.

use std::time::Duration;

use super::ids::SubmissionId;
use super::timestamp::Timestamp;

/// The longest gap between two polls of one task, before it is spread.
const GAP_MAX: Duration = Duration::from_mins(10);

/// After so many the gap is the longest, whatever it began with.
const DOUBLINGS_MAX: u32 = 16;

/// The gap between two polls of a task that EvoLink did not know, before it is spread. Such a poll
/// finds nothing unless EvoLink, or the way to it, was wrong for a while.
const RARE_GAP_MAX: Duration = Duration::from_hours(1);

/// Where `give_up_after` is short, this many rare polls still fit into it.
const RARE_POLLS_MIN: u32 = 4;

/// By what a lease, or a pause that EvoLink asked for, may put a poll off.
const PLAN_GRACE: Duration = Duration::from_hours(1);
/// A gap is longer than it need be by up to a quarter, so that tasks that were asked about together are not so for ever.
const SPREAD: f64 = 0.25;

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

    /// The next poll of task `id`, which was asked about `polls` times, the last time at `now`: the gap doubles.
    pub fn next_poll(&self, now: Timestamp, id: SubmissionId, polls: u32) -> Timestamp {
        let gap = self.gap(polls);
        spread(gap, now, id, polls)
    }

    /// The next poll of an unresolved task, which EvoLink did not know when it was last polled.
    pub fn next_rare_poll(&self, now: Timestamp, id: SubmissionId, polls: u32) -> Timestamp {
        let gap = RARE_GAP_MAX.min(self.give_up_after / RARE_POLLS_MIN);
        spread(gap.max(self.interval_min), now, id, polls)
    }

    fn gap(&self, polls: u32) -> Duration {
        let doublings = polls.saturating_sub(1).min(DOUBLINGS_MAX);
        let doubled = self.interval_min.saturating_mul(1 << doublings);
        doubled.clamp(self.interval_min, self.gap_max())
    }

    /// The soonest poll that something suspicious may ask for. Never later than the minimum from now, though the last poll
    /// may have been made by a clock that was ahead of ours.
    pub fn soonest_poll(&self, now: Timestamp, polled_at: Option<Timestamp>) -> Timestamp {
        let soonest = polled_at.map_or(now, |polled| now.max(polled.after(self.interval_min)));
        soonest.min(now.after(self.interval_min))
    }

    /// Whether a poll planned for `at` is due. One that lies further ahead than any plan of ours was planned by a clock that
    /// was years ahead of the present one, and would never come.
    pub fn is_due(&self, at: Timestamp, now: Timestamp) -> bool {
        at <= now || at > self.horizon(now)
    }

    /// Beyond all that is planned at `now`.
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

    /// Whether the clock says that the asking which began at `since` has gone on for long enough.
    pub fn is_long_ago(&self, since: Timestamp, now: Timestamp) -> bool {
        now.since(since) >= self.give_up_after || since > self.horizon(now)
    }

    /// Whether EvoLink was given the time to answer, whatever the clock says: it was asked as often as is done in
    /// `give_up_after`, or we have been running for so long. While nobody was there to ask, or between two clocks, no
    /// task is given up.
    pub fn has_asked_enough(&self, polls: u32, running: Duration) -> bool {
        running >= self.give_up_after || polls >= self.polls_until_given_up()
    }

    /// How often a task is asked about that never ends, if its gaps are as long as they may be.
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

/// `gap` after `now`, or up to a quarter later. Never sooner: the minimum is EvoLink's.
fn spread(gap: Duration, now: Timestamp, id: SubmissionId, polls: u32) -> Timestamp {
    now.after(gap.saturating_add(gap.mul_f64(SPREAD * share(id, polls))))
}

/// Something from 0 to 1, other for each task and each of its polls, and always the same for these: no chance comes into
/// the domain. The finish of `SplitMix64`, which makes neighbours far apart.
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
        // The polls that are made in a day, one after the other.
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
