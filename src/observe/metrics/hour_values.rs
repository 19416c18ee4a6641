//! The last hour of what is measured and not counted: latencies and gauges, minute by minute. The
//! size is fixed, whatever the load is.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use serde::Serialize;

pub(super) const MINUTES: u64 = 60;

pub type Counts = BTreeMap<&'static str, u64>;

/// The upper end of the first bucket, in microseconds. Each further bucket ends a fifth later, so
/// that a quantile is at most a fifth too large.
const FIRST_MICROS: f64 = 100.0;
const STEP: f64 = 1.2;

/// From 0.1 ms to 9 s, more than a callback may take.
const BUCKETS: usize = 64;

/// The latencies of one minute, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Latency {
    pub p50: f64,
    pub p99: f64,
}

/// A value for each minute.
#[derive(Debug)]
struct Ring<T>(Mutex<VecDeque<(u64, T)>>);

#[derive(Debug, Default)]
pub struct Latencies(Ring<Buckets>);

#[derive(Debug, Default)]
pub struct Gauges(Ring<Counts>);

#[derive(Clone, Debug)]
struct Buckets([u32; BUCKETS]);

impl<T> Default for Ring<T> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}

impl Default for Buckets {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl<T: Clone + Default> Ring<T> {
    fn change(&self, minute: u64, change: impl FnOnce(&mut T)) {
        let mut ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        while ring.front().is_some_and(|(at, _)| minute >= at + MINUTES) {
            ring.pop_front();
        }
        if ring.back().is_none_or(|(at, _)| *at < minute) {
            ring.push_back((minute, T::default()));
        }
        if let Some((_, value)) = ring.back_mut() {
            change(value);
        }
    }

    /// Returns the values of the 60 minutes up to `now`, the oldest first.
    fn by_minute(&self, now: u64) -> Vec<Option<T>> {
        let ring = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let of = |ago: u64| {
            let minute = now.checked_sub(ago)?;
            let found = ring.iter().find(|(at, _)| *at == minute);
            found.map(|(_, value)| value.clone())
        };
        (0..MINUTES).rev().map(of).collect()
    }
}

impl Latencies {
    pub fn add(&self, minute: u64, took: Duration) {
        let micros = took.as_secs_f64() * 1_000_000.0;
        let ends = std::iter::successors(Some(FIRST_MICROS), |end| Some(end * STEP));
        let place = ends.take(BUCKETS - 1).take_while(|end| micros > *end);
        let place = place.count();
        self.0.change(minute, |buckets| {
            buckets.0[place] = buckets.0[place].saturating_add(1);
        });
    }

    pub fn by_minute(&self, now: u64) -> Vec<Option<Latency>> {
        let minutes = self.0.by_minute(now).into_iter();
        let latency = |buckets: Buckets| Latency {
            p50: buckets.quantile(50),
            p99: buckets.quantile(99),
        };
        minutes.map(|minute| minute.map(latency)).collect()
    }
}

impl Gauges {
    pub fn set(&self, minute: u64, name: &'static str, value: u64) {
        self.0.change(minute, |gauges| {
            gauges.insert(name, value);
        });
    }

    pub fn by_minute(&self, now: u64) -> Vec<Option<Counts>> {
        self.0.by_minute(now)
    }
}

impl Buckets {
    /// Returns the end of the bucket in which the quantile is, in milliseconds.
    fn quantile(&self, percent: u64) -> f64 {
        let all: u64 = self.0.iter().map(|count| u64::from(*count)).sum();
        let wanted = (all * percent).div_ceil(100).max(1);
        let (mut seen, mut end) = (0, FIRST_MICROS);
        for count in self.0 {
            seen += u64::from(count);
            if seen >= wanted {
                break;
            }
            end *= STEP;
        }
        (end / 10.0).round() / 100.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_at_most_a_fifth_too_large() {
        let latencies = Latencies::default();
        for ms in 1..=100 {
            latencies.add(7, Duration::from_millis(ms));
        }
        latencies.add(8, Duration::from_mins(1));
        let minutes = latencies.by_minute(8);
        assert_eq!((minutes.len(), minutes[57]), (60, None));
        let Latency { p50, p99 } = minutes[58].unwrap();
        assert!((50.0..=60.0).contains(&p50), "{p50}");
        assert!((99.0..=119.0).contains(&p99), "{p99}");
        assert!(minutes[59].unwrap().p50 > 8000.0);
    }

    #[test]
    fn a_gauge_keeps_its_last_value_of_each_minute_for_an_hour() {
        let gauges = Gauges::default();
        for (minute, value) in [(0, 1), (0, 2), (3, 5), (70, 7)] {
            gauges.set(minute, "open", value);
        }
        let minutes = gauges.by_minute(62);
        assert_eq!(minutes[0], None);
        assert!(minutes.iter().flatten().all(|gauges| gauges["open"] != 2));
        assert_eq!(gauges.by_minute(70)[59].as_ref().unwrap()["open"], 7);
        assert_eq!(
            gauges.0.0.lock().unwrap().len(),
            1,
            "old minutes take no space"
        );
    }
}
