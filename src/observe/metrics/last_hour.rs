//! What was counted in the last hour, for people: a counter since the start does not say whether
//! something goes wrong now.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use super::hour_values::{Counts, Gauges, Latencies, Latency, MINUTES};

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
    /// Submits by how they ended.
    pub submits: Counts,
}

/// The last hour in 60 minutes, the oldest first. The last minute is not over yet.
#[derive(Clone, Debug, Serialize)]
pub struct HourMinutes {
    /// How callbacks with a valid token ended.
    pub callbacks: Vec<Counts>,
    /// Outcomes by their source.
    pub outcomes: Vec<Counts>,
    /// Submits by how they ended.
    pub submits: Vec<Counts>,
    /// The time from the verified token of a callback to its answer. `None` without callbacks.
    pub latency_ms: Vec<Option<Latency>>,
    /// The last value that each gauge had. `None` if it was not measured.
    pub gauges: Vec<Option<Counts>>,
}

/// What is counted for `HourCounts` and `HourMinutes`.
#[derive(Debug)]
pub struct Hours {
    pub callbacks: LastHour,
    pub outcomes: LastHour,
    pub refused: LastHour,
    pub handshakes: LastHour,
    pub submits: LastHour,
    pub latencies: Latencies,
    pub gauges: Gauges,
}

impl Hours {
    pub fn new() -> Self {
        Self {
            callbacks: LastHour::new(),
            outcomes: LastHour::new(),
            refused: LastHour::new(),
            handshakes: LastHour::new(),
            submits: LastHour::new(),
            latencies: Latencies::default(),
            gauges: Gauges::default(),
        }
    }

    /// Returns the minutes of the last hour, for plots.
    pub fn minutes(&self) -> HourMinutes {
        let now = self.callbacks.minute();
        let counts = |of: &LastHour| of.by_minute_at(now);
        HourMinutes {
            callbacks: counts(&self.callbacks),
            outcomes: counts(&self.outcomes),
            submits: counts(&self.submits),
            latency_ms: self.latencies.by_minute(now),
            gauges: self.gauges.by_minute(now),
        }
    }

    pub fn callback_answered_after(&self, took: Duration) {
        self.latencies.add(self.callbacks.minute(), took);
    }

    pub fn measured(&self, name: &'static str, value: u64) {
        self.gauges.set(self.callbacks.minute(), name, value);
    }

    pub fn counts(&self) -> HourCounts {
        HourCounts {
            callbacks: self.callbacks.counts(),
            outcomes: self.outcomes.counts(),
            refused: self.refused.counts(),
            handshakes: self.handshakes.counts(),
            submits: self.submits.counts(),
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

    /// Returns the counts of each minute, the oldest first. The last is the current one.
    fn by_minute_at(&self, now: u64) -> Vec<Counts> {
        let mut minutes = vec![Counts::new(); usize::try_from(MINUTES).unwrap_or_default()];
        for minute in self.lock().iter().filter(|minute| !minute.is_over(now)) {
            // Another thread may have begun a newer minute meanwhile.
            let ago = now.saturating_sub(minute.number);
            let place = usize::try_from(MINUTES - 1 - ago).unwrap_or_default();
            minutes[place].clone_from(&minute.counts);
        }
        minutes
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
