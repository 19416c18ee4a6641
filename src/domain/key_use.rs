//! How much an API key uses, and the limits that this is compared with. The recorder counts a
//! submit in the transaction that records its intent, so restarts and replicas agree.

use std::collections::HashMap;
use std::fmt;
use std::time::Duration;

use super::timestamp::Timestamp;

const MICROS_PER_CREDIT: f64 = 1_000_000.0;
const MICROS_PER_SECOND: i64 = 1_000_000;
const MILLIS_PER_DAY: i64 = 86_400_000;

/// The most credits that one answer of EvoLink may state. A larger number is a fault, and counts as
/// absent.
const CREDITS_MAX: f64 = 1e9;

/// An amount of EvoLink's credits, in millionths: sums of fractions must not drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Credits(i64);

/// A day in UTC, counted from 1970-01-01.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

/// The limits of one API key on submits. `None`: there is no such limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyLimits {
    pub submits_per_second: Option<u32>,
    pub daily_submits: Option<u64>,
    pub daily_credits: Option<Credits>,
}

/// The use of one API key on one day.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KeyUse {
    pub submits: i64,
    pub credits: Credits,
    /// Unix microseconds: until then the submits so far use up `submits_per_second`.
    pub spent_until: i64,
}

/// The uses that a batch compares with limits, by the key's name and the day.
pub type Uses = HashMap<(String, Day), KeyUse>;

/// What one task adds to the use of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    pub submits: i64,
    pub credits: Credits,
}

/// A limit that a submit would exceed, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    SubmitsPerSecond(u32),
    DailySubmits(u64),
    DailyCredits(Credits),
}

/// Why a submit is refused, and when the next one may succeed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitReached {
    pub limit: Limit,
    pub retry_after: Duration,
}

impl Credits {
    /// `None` unless it is a number from 0 to a thousand million.
    pub fn of(credits: f64) -> Option<Self> {
        let is_usable = (0.0..=CREDITS_MAX).contains(&credits);
        #[expect(clippy::cast_possible_truncation, reason = "the bound was checked")]
        let micros = (credits * MICROS_PER_CREDIT).round() as i64;
        is_usable.then_some(Self(micros))
    }

    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    pub const fn as_micros(self) -> i64 {
        self.0
    }

    #[expect(
        clippy::cast_precision_loss,
        reason = "beyond 2^53 millionths nobody counts"
    )]
    pub fn as_f64(self) -> f64 {
        self.0 as f64 / MICROS_PER_CREDIT
    }
}

impl fmt::Display for Credits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.as_f64())
    }
}

impl Day {
    pub const fn of(time: Timestamp) -> Self {
        Self(time.as_millis().div_euclid(MILLIS_PER_DAY))
    }

    pub const fn number(self) -> i64 {
        self.0
    }

    /// Returns the time at which the next day begins.
    pub const fn end(self) -> Timestamp {
        Timestamp::from_millis((self.0 + 1) * MILLIS_PER_DAY)
    }

    /// Returns the day that is `days` earlier.
    #[must_use]
    pub const fn before(self, days: i64) -> Self {
        Self(self.0 - days)
    }
}

impl KeyLimits {
    /// Whether a submit has to be compared with the use of its key.
    pub const fn has_any(&self) -> bool {
        self.submits_per_second.is_some()
            || self.daily_submits.is_some()
            || self.daily_credits.is_some()
    }
}

impl KeyUse {
    /// Counts one submit.
    ///
    /// # Errors
    /// The first limit that it exceeds. Then nothing is counted.
    pub fn admit(&mut self, limits: &KeyLimits, now: Timestamp) -> Result<(), LimitReached> {
        let until_tomorrow = Day::of(now).end().since(now);
        let reached = |limit, retry_after| Err(LimitReached { limit, retry_after });
        if let Some(most) = limits.daily_submits
            && u64::try_from(self.submits).unwrap_or(0) >= most
        {
            return reached(Limit::DailySubmits(most), until_tomorrow);
        }
        if let Some(most) = limits.daily_credits
            && self.credits >= most
        {
            return reached(Limit::DailyCredits(most), until_tomorrow);
        }
        if let Some(most) = limits.submits_per_second {
            // The submits of one second may come together.
            let now = now.as_millis().saturating_mul(1000);
            let each = MICROS_PER_SECOND / i64::from(most.max(1));
            let spent_until = self.spent_until.max(now).saturating_add(each);
            let wait = spent_until - now - MICROS_PER_SECOND;
            if wait > 0 {
                let wait = Duration::from_micros(u64::try_from(wait).unwrap_or(0));
                return reached(Limit::SubmitsPerSecond(most), wait);
            }
            self.spent_until = spent_until;
        }
        self.submits += 1;
        Ok(())
    }
}

impl Limit {
    /// Returns the name of the key in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::SubmitsPerSecond(_) => "submits_per_second",
            Self::DailySubmits(_) => "daily_submits",
            Self::DailyCredits(_) => "daily_credits",
        }
    }
}

impl fmt::Display for Limit {
    /// Writes the value.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SubmitsPerSecond(most) => write!(f, "{most}"),
            Self::DailySubmits(most) => write!(f, "{most}"),
            Self::DailyCredits(most) => write!(f, "{most}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A minute before the end of a day.
    const NOW: Timestamp = Timestamp::from_millis(20_000 * MILLIS_PER_DAY - 60_000);

    fn reached(used: KeyUse, limits: KeyLimits) -> Option<(&'static str, u64)> {
        let mut after = used;
        let reached = after.admit(&limits, NOW).err()?;
        assert_eq!(after, used, "nothing is counted");
        Some((reached.limit.name(), reached.retry_after.as_secs()))
    }

    #[test]
    fn a_daily_limit_ends_with_the_day() {
        let used = KeyUse {
            submits: 2,
            credits: Credits::of(0.5).unwrap(),
            spent_until: 0,
        };
        let submits = |most| KeyLimits {
            daily_submits: Some(most),
            ..KeyLimits::default()
        };
        let credits = |most| KeyLimits {
            daily_credits: Credits::of(most),
            ..KeyLimits::default()
        };
        assert_eq!(reached(used, submits(3)), None);
        assert_eq!(reached(used, submits(2)), Some(("daily_submits", 60)));
        assert_eq!(reached(used, credits(0.500_001)), None);
        assert_eq!(reached(used, credits(0.5)), Some(("daily_credits", 60)));
    }

    #[test]
    fn the_submits_of_a_second_may_come_together_and_then_come_evenly() {
        let limits = KeyLimits {
            submits_per_second: Some(3),
            ..KeyLimits::default()
        };
        let mut used = KeyUse::default();
        let mut admitted = |at: u64| {
            let now = NOW.after(Duration::from_millis(at));
            used.admit(&limits, now).is_ok()
        };
        assert!((0..3).all(|_| admitted(0)));
        assert!(!admitted(0) && !admitted(300));
        assert!(admitted(340) && !admitted(600) && admitted(700));
        assert!((0..3).all(|_| admitted(5000)) && !admitted(5000));
    }

    #[test]
    fn credits_are_exact_and_nonsense_is_absent() {
        let sum: i64 = (0..10).map(|_| Credits::of(0.1).unwrap().as_micros()).sum();
        assert_eq!(Credits::from_micros(sum), Credits::of(1.0).unwrap());
        assert_eq!(Credits::of(0.026).unwrap().to_string(), "0.026");
        for nonsense in [-0.1, f64::NAN, f64::INFINITY, 1.1e9] {
            assert_eq!(Credits::of(nonsense), None, "{nonsense}");
        }
    }
}
