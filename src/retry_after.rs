//! The header `Retry-After`: parses it in the answers that we receive, and has the values for the
//! answers that we send. The simulator has its own.

use std::time::Duration;

use http::header::{DATE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use jiff::fmt::rfc2822::{DateTimeParser, DateTimePrinter};

use crate::domain::delivery::schedule::{RETRY_AFTER_MAX, RETRY_AFTER_MIN};
use crate::domain::timestamp::Timestamp;

/// The whole seconds after which a client may repeat a request that we refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Seconds(u32);

impl Seconds {
    /// Returns the seconds after which `wait` is over, at least one.
    pub fn after(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        Self(u32::try_from(seconds.max(1)).unwrap_or(u32::MAX))
    }
}

/// For a shortage in this receiver that usually ends within a second.
pub const SOON: Seconds = Seconds(1);

/// EvoLink cannot be called now, or an equal submit is under way. Both take a few seconds.
pub const SUBMIT: Seconds = Seconds(5);

/// A task is not completed yet. The fastest models take a few seconds.
pub const NOT_COMPLETED: Seconds = Seconds(2);

/// A result file could not be fetched yet, or the archive does not answer.
pub const ARCHIVE: Seconds = Seconds(5);

impl From<Seconds> for HeaderValue {
    fn from(seconds: Seconds) -> Self {
        Self::from(seconds.0)
    }
}

/// Returns how long to wait, between 1 s and 1 h, or `None` if the value is absent, unusable or in
/// the past. The value contains seconds or an HTTP date. `date` is the `Date` of the same answer. A
/// date in `value` is compared with it, so both come from the same clock, which may differ from
/// ours.
pub fn parse(value: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let value = value?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit means a very long time.
        value.parse().map_or(RETRY_AFTER_MAX, Duration::from_secs)
    } else {
        let wait = http_date(value)?.duration_since(http_date(date?)?);
        Duration::try_from(wait).ok()?
    };
    Some(wait.clamp(RETRY_AFTER_MIN, RETRY_AFTER_MAX))
}

/// Parses the `Retry-After` of an answer, like `parse`. If the answer has no `Date`, a date is
/// compared with `now`, the system's time.
pub fn of_answer(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    static PRINTER: DateTimePrinter = DateTimePrinter::new();
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let date = text(DATE).map(str::to_owned).or_else(|| {
        let now = jiff::Timestamp::from_millisecond(now.as_millis()).ok()?;
        PRINTER.timestamp_to_rfc9110_string(&now).ok()
    });
    parse(text(RETRY_AFTER), date.as_deref())
}

fn http_date(text: &str) -> Option<jiff::Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_bounded_and_nonsense_is_absent() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let seconds = |value| parse(Some(value), date).map(|wait| wait.as_secs());
        let cases = [
            ("7", Some(7)),
            ("0", Some(1)),
            ("1000000000", Some(3600)),
            ("99999999999999999999999", Some(3600)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 18:49:37 GMT", Some(3600)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", None),
            ("-5", None),
            ("1.5", None),
            ("x", None),
            ("", None),
        ];
        for (value, expected) in cases {
            assert_eq!(seconds(value), expected, "{value:?}");
        }
        assert_eq!(parse(None, date), None);
        assert_eq!(parse(date, None), None);
    }
}
