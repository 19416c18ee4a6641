//! How soon a certificate expires, in the steps at which operators are warned. `tls` logs the
//! steps, and `check` prints them.

use jiff::{SignedDuration, Timestamp};
use tracing::{error, warn};

use super::Listener;

/// Days before expiry at which the operator is warned, once each.
const DAYS_AHEAD: [i64; 3] = [1, 7, 21];

/// The time left until a certificate expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    Enough,
    /// At most this many days; one of `DAYS_AHEAD`.
    Days(i64),
    Expired,
    /// Its first day is to come.
    NotYet,
}

impl Left {
    /// What is left `now` of the time from `not_before` to `not_after`.
    pub fn until(not_before: Timestamp, not_after: Timestamp, now: Timestamp) -> Self {
        if now < not_before {
            return Self::NotYet;
        }
        let left = not_after.duration_since(now);
        if left.is_negative() {
            return Self::Expired;
        }
        let step = DAYS_AHEAD
            .into_iter()
            .find(|days| left <= SignedDuration::from_hours(days * 24));
        step.map_or(Self::Enough, Self::Days)
    }
}

/// Logs each step once per certificate.
#[derive(Debug)]
pub struct ExpiryLog {
    listener: Listener,
    told: Option<(Timestamp, Left)>,
}

impl ExpiryLog {
    pub const fn of(listener: Listener) -> Self {
        let told = None;
        Self { listener, told }
    }

    /// Logs the current step unless it was logged before. Returns what was logged.
    pub fn look(
        &mut self,
        not_before: Timestamp,
        not_after: Timestamp,
        now: Timestamp,
    ) -> Option<Left> {
        let left = Left::until(not_before, not_after, now);
        if left == Left::Enough || self.told == Some((not_after, left)) {
            return None;
        }
        self.told = Some((not_after, left));
        let (name, so) = (self.listener.as_str(), self.listener.consequence());
        match left {
            Left::Enough => {}
            Left::Days(days) => {
                warn!(tls.not_after = %not_after, days, "the certificate of the {name} listener expires in {days} days or less, at {not_after}");
            }
            Left::Expired => {
                error!(tls.not_after = %not_after, "the certificate of the {name} listener has expired, at {not_after}: {so} until its files are renewed");
            }
            Left::NotYet => {
                error!(tls.not_before = %not_before, "the certificate of the {name} listener is not valid before {not_before}: until then {so}");
            }
        }
        Some(left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_told_once_of_each_certificate() {
        let end = Timestamp::from_second(2_000_000_000).unwrap();
        let begin = end - SignedDuration::from_hours(90 * 24);
        let before = |hours| end - SignedDuration::from_hours(hours);
        let mut log = ExpiryLog::of(Listener::Public);
        for (now, told) in [
            (before(91 * 24), Some(Left::NotYet)),
            (before(91 * 24 - 1), None),
            (before(22 * 24), None),
            (before(21 * 24), Some(Left::Days(21))),
            (before(20 * 24), None),
            (before(7 * 24), Some(Left::Days(7))),
            (before(24), Some(Left::Days(1))),
            (before(0), None),
            (before(-1), Some(Left::Expired)),
            (before(-2), None),
        ] {
            assert_eq!(log.look(begin, end, now), told, "{now}");
        }
        let renewed = end + SignedDuration::from_hours(6 * 24);
        assert_eq!(log.look(begin, renewed, end), Some(Left::Days(7)));
    }
}
