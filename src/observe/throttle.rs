//! Limits how often a log says the same thing.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

/// Lets one message through per interval.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    last: Option<Instant>,
    times: u64,
}

impl Throttle {
    pub const fn every(interval: Duration) -> Self {
        Self {
            interval,
            last: None,
            times: 0,
        }
    }

    /// Returns how many occurrences the message stands for, or `None` if it is too early for one.
    pub fn pass(&mut self) -> Option<u64> {
        self.pass_at(Instant::now())
    }

    fn pass_at(&mut self, now: Instant) -> Option<u64> {
        self.times += 1;
        if self.last.is_some_and(|last| now - last < self.interval) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.times))
    }
}

/// A throttle for each kind of message. The kinds must be few: none is ever forgotten.
#[derive(Debug)]
pub struct Throttles<K> {
    interval: Duration,
    kinds: Mutex<HashMap<K, Throttle>>,
}

impl<K: Eq + Hash> Throttles<K> {
    pub fn every(interval: Duration) -> Self {
        Self {
            interval,
            kinds: Mutex::new(HashMap::new()),
        }
    }

    /// As [`Throttle::pass`], for the messages of one kind.
    pub fn pass(&self, kind: K) -> Option<u64> {
        let mut kinds = self.kinds.lock().expect("no holder panics");
        let throttle = kinds.entry(kind);
        throttle
            .or_insert_with(|| Throttle::every(self.interval))
            .pass()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_message_passes_per_interval_and_says_how_often_it_occurred() {
        let mut throttle = Throttle::every(Duration::from_mins(1));
        let start = Instant::now();
        let mut pass = |seconds| throttle.pass_at(start + Duration::from_secs(seconds));
        assert_eq!([pass(0), pass(1), pass(59)], [Some(1), None, None]);
        assert_eq!([pass(60), pass(119), pass(300)], [Some(3), None, Some(2)]);
    }

    #[test]
    fn each_kind_has_a_throttle_of_its_own() {
        let throttles = Throttles::every(Duration::from_hours(1));
        let passed = ['a', 'b', 'a'].map(|kind| throttles.pass(kind));
        assert_eq!(passed, [Some(1), Some(1), None]);
    }
}
