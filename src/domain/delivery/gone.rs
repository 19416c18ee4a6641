//! Decides when an endpoint that answers 410 is disabled.
//!
//! Webhook senders stop sending to an endpoint that answers 410 Gone. But a gateway in front of the
//! endpoint may also answer 410, for a moment or to one request. So a 410 counts only together with
//! others, and a 2xx answer in between discards them all. Pure.

use std::time::Duration;

use super::DeliveryId;
use crate::domain::timestamp::Timestamp;

/// The number of different deliveries that must have been answered with 410. One delivery can be
/// special, and two can belong to one task. Three are the endpoint.
pub const DELIVERIES: usize = 3;

/// The minimum time between the first and the last of these answers. Restarting or redeploying a
/// gateway takes less.
pub const SPAN: Duration = Duration::from_mins(5);

/// A delivery that was answered with 410, and when.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GoneAnswer {
    pub delivery: DeliveryId,
    pub at: Timestamp,
}

/// The 410 answers of one endpoint since its last 2xx answer. Holds the first answer of each
/// delivery, at most `DELIVERIES`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoneAnswers(Vec<GoneAnswer>);

impl GoneAnswers {
    /// Adds an answer that was read from the store.
    pub fn restore(&mut self, answer: GoneAnswer) {
        self.0.push(answer);
    }

    /// Adds a 410 answer to `delivery` at `now`. Returns whether the endpoint must be disabled.
    pub fn add(&mut self, delivery: DeliveryId, now: Timestamp) -> bool {
        for answer in &mut self.0 {
            // A clock that was ahead may have stored this time. Without the cap, `SPAN` would never
            // have passed since then.
            answer.at = answer.at.min(now);
        }
        let is_known = self.0.iter().any(|answer| answer.delivery == delivery);
        if !is_known && self.0.len() < DELIVERIES {
            self.0.push(GoneAnswer { delivery, at: now });
        }
        let first = self.0.iter().map(|answer| answer.at).min();
        self.0.len() >= DELIVERIES && first.is_some_and(|first| now.since(first) >= SPAN)
    }

    pub fn answers(&self) -> &[GoneAnswer] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp::from_millis(1_757_165_031_007);

    fn at(seconds: u64) -> Timestamp {
        START.after(Duration::from_secs(seconds))
    }

    /// Adds the answers one by one. Returns the index of the answer that disables the endpoint.
    fn disabled_by(answers: &[(i64, u64)]) -> Option<usize> {
        let mut gone = GoneAnswers::default();
        let mut added = answers.iter();
        added.position(|&(delivery, seconds)| gone.add(DeliveryId(delivery), at(seconds)))
    }

    #[test]
    fn three_deliveries_over_five_minutes_disable_an_endpoint_and_nothing_less_does() {
        assert_eq!(disabled_by(&[(1, 0), (2, 100), (3, 299)]), None);
        assert_eq!(disabled_by(&[(1, 0), (2, 100), (3, 300)]), Some(2));
        // A delivery counts once, however often it was sent.
        assert_eq!(disabled_by(&[(1, 0), (2, 100), (1, 300), (2, 9000)]), None);
        // Answers within a moment of each other do not suffice. The first answer after five minutes
        // disables the endpoint.
        assert_eq!(disabled_by(&[(1, 0), (2, 0), (3, 0), (4, 1), (5, 2)]), None);
        assert_eq!(
            disabled_by(&[(1, 0), (2, 0), (3, 0), (4, 1), (2, 301)]),
            Some(4)
        );
    }

    #[test]
    fn answers_from_a_clock_that_was_ahead_count_from_now_on() {
        let mut gone = GoneAnswers::default();
        for delivery in 1..=3 {
            gone.restore(GoneAnswer {
                delivery: DeliveryId(delivery),
                at: at(1_000_000_000),
            });
        }
        assert!(!gone.add(DeliveryId(1), at(0)));
        assert!(!gone.add(DeliveryId(1), at(299)));
        assert!(gone.add(DeliveryId(1), at(300)));
    }
}
