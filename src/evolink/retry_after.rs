//! Parses `Retry-After`, which contains seconds or an HTTP date. Never returns more than an hour.

use std::time::Duration;

use jiff::Timestamp;
use jiff::fmt::rfc2822::DateTimeParser;

const SHORTEST: Duration = Duration::from_secs(1);
const LONGEST: Duration = Duration::from_hours(1);

/// Returns how long to wait, between 1 s and 1 h, or `None` if the value is absent, unusable or in
/// the past. `date` is the `Date` of the same answer. A date in `value` is compared with it, so
/// both come from the same clock, which may differ from ours.
pub fn retry_after(value: Option<&str>, date: Option<&str>) -> Option<Duration> {
    let value = value?.trim();
    let wait = if !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit()) {
        // A number that does not fit means a very long time.
        value.parse().map_or(LONGEST, Duration::from_secs)
    } else {
        let wait = http_date(value)?.duration_since(http_date(date?)?);
        Duration::try_from(wait).ok()?
    };
    Some(wait.clamp(SHORTEST, LONGEST))
}

fn http_date(text: &str) -> Option<Timestamp> {
    static PARSER: DateTimeParser = DateTimeParser::new();
    PARSER.parse_timestamp(text.trim()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seconds_and_dates_are_bounded_and_nonsense_is_absent() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let seconds = |value| retry_after(Some(value), date).map(|wait| wait.as_secs());
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
        assert_eq!(retry_after(None, date), None);
        assert_eq!(retry_after(date, None), None);
    }
}
