//! What was counted in the last hour, for people: a counter since the start does not say whether
//! something goes wrong now.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use serde::Serialize;

const MINUTES: u64 = 60;
const SECONDS_PER_MINUTE: u64 = 60;

/// The counts of the last hour, by name. Names come from closed sets, so that there are few.
#[derive(Debug)]
pub struct LastHour {
    /// A correction of the system's clock must not move the hour.
    started: Instant,
    minutes: Mutex<VecDeque<Minute>>,
}

/// The counts of one minute since the start.
#[derive(Debug)]
struct Minute {
    number: u64,
    counts: Counts,
}

pub type Counts = BTreeMap<&'static str, u64>;

/// What people are shown of the last hour.
#[derive(Clone, Debug, Serialize)]
pub struct HourCounts {
    /// How callbacks with a valid token ended.
    pub callbacks: Counts,
    /// Outcomes by their source.
    pub outcomes: Counts,
    /// Requests that were refused before that, by the reason.
    pub refused: Counts,
    /// TLS handshakes that failed, by the reason.
    pub handshakes: Counts,
}

/// What is counted for `HourCounts`.
#[derive(Debug)]
pub struct Hours {
    pub callbacks: LastHour,
    pub outcomes: LastHour,
    pub refused: LastHour,
    pub handshakes: LastHour,
}

impl Hours {
    pub fn new() -> Self {
        Self {
            callbacks: LastHour::new(),
            outcomes: LastHour::new(),
            refused: LastHour::new(),
            handshakes: LastHour::new(),
        }
    }

    pub fn counts(&self) -> HourCounts {
        HourCounts {
            callbacks: self.callbacks.counts(),
            outcomes: self.outcomes.counts(),
            refused: self.refused.counts(),
            handshakes: self.handshakes.counts(),
        }
    }
}

impl LastHour {
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            minutes: Mutex::default(),
        }
    }

    pub fn count(&self, name: &'static str) {
        self.count_in(self.minute(), name);
    }

    pub fn counts(&self) -> Counts {
        self.counts_at(self.minute())
    }

    fn minute(&self) -> u64 {
        self.started.elapsed().as_secs() / SECONDS_PER_MINUTE
    }

    fn lock(&self) -> MutexGuard<'_, VecDeque<Minute>> {
        self.minutes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn count_in(&self, number: u64, name: &'static str) {
        let mut minutes = self.lock();
        while minutes.front().is_some_and(|oldest| oldest.is_over(number)) {
            minutes.pop_front();
        }
        // Another thread may have read the clock earlier and come later.
        if minutes.back().is_none_or(|newest| newest.number < number) {
            let counts = Counts::new();
            minutes.push_back(Minute { number, counts });
        }
        if let Some(newest) = minutes.back_mut() {
            *newest.counts.entry(name).or_default() += 1;
        }
    }

    fn counts_at(&self, number: u64) -> Counts {
        let mut sum = Counts::new();
        for minute in self.lock().iter().filter(|minute| !minute.is_over(number)) {
            for (name, count) in &minute.counts {
                *sum.entry(name).or_default() += count;
            }
        }
        sum
    }
}

impl Minute {
    const fn is_over(&self, now: u64) -> bool {
        now >= self.number + MINUTES
    }
}

#[cfg(test)]
mod tests {
    use super::LastHour;

    #[test]
    fn what_is_older_than_an_hour_is_forgotten() {
        let hour = LastHour::new();
        for (minute, name) in [
            (0, "recorded"),
            (0, "refused"),
            (1, "recorded"),
            (59, "recorded"),
        ] {
            hour.count_in(minute, name);
        }
        let recorded = |minute| hour.counts_at(minute).get("recorded").copied();
        assert_eq!(recorded(59), Some(3));
        assert_eq!(recorded(60), Some(2));
        assert_eq!(hour.counts_at(60).get("refused"), None);
        assert_eq!(recorded(61), Some(1));
        hour.count_in(200, "recorded");
        // A thread that read the clock before that.
        hour.count_in(199, "recorded");
        assert_eq!(recorded(200), Some(2));
        assert_eq!(hour.lock().len(), 1, "old minutes take no space");
    }
}
