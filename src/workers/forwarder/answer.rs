//! What an endpoint's answer means for the delivery, and for the endpoint as a whole.

use std::time::Duration;

use http::header::{DATE, HeaderName, RETRY_AFTER};
use http::{HeaderMap, StatusCode};
use jiff::fmt::rfc2822::DateTimePrinter;
use tokio::time::timeout;

use crate::domain::delivery::AttemptEnd;
use crate::domain::timestamp::Timestamp;
use crate::evolink::retry_after;
use crate::workers::breaker::Heard;

/// Read of an answer, so that its connection can be used again; one that has more is closed.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// And waited for it.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// What the head of an answer says.
pub fn end(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> AttemptEnd {
    let code = status.as_u16();
    if status.is_success() {
        return AttemptEnd::Delivered { status: code };
    }
    if status == StatusCode::GONE {
        return AttemptEnd::Gone { status: code };
    }
    let reason = if status.is_redirection() {
        format!("answered {code}: redirects are not followed")
    } else {
        format!("answered {code}")
    };
    AttemptEnd::Failed {
        status: Some(code),
        reason,
        retry_after: wish(headers, now),
    }
}

/// When it wants to be tried again.
fn wish(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok();
    let date = text(DATE).map(str::to_owned).or_else(|| http_date(now));
    retry_after(text(RETRY_AFTER), date.as_deref())
}

fn http_date(at: Timestamp) -> Option<String> {
    static PRINTER: DateTimePrinter = DateTimePrinter::new();
    let at = jiff::Timestamp::from_millisecond(at.as_millis()).ok()?;
    PRINTER.timestamp_to_rfc9110_string(&at).ok()
}

/// What it tells of the endpoint. Nothing, if nothing was sent.
pub const fn heard(end: &AttemptEnd) -> Option<Heard> {
    match end {
        AttemptEnd::Delivered { .. } | AttemptEnd::Gone { .. } => Some(Heard::Answer),
        AttemptEnd::Failed { .. } => Some(Heard::Failure),
        AttemptEnd::Refused { .. } | AttemptEnd::Disabled | AttemptEnd::GivenBack => None,
    }
}

/// Reads what follows the head, within bounds. What it says is nobody's business.
pub async fn read_rest(mut response: reqwest::Response) {
    let reading = async {
        let mut left = BODY_BYTES_MAX;
        while let Ok(Some(chunk)) = response.chunk().await {
            let Some(rest) = left.checked_sub(chunk.len()) else {
                return;
            };
            left = rest;
        }
    };
    let _ = timeout(BODY_TIMEOUT, reading).await;
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    /// 1994-11-06 08:49:37.
    const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);

    fn end_of(status: u16, headers: &[(HeaderName, &'static str)]) -> AttemptEnd {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let status = StatusCode::from_u16(status).unwrap();
        end(status, &headers.collect(), NOW)
    }

    #[test]
    fn only_2xx_delivers_410_ends_it_and_redirects_are_failures() {
        for status in [200, 201, 202, 204, 226, 299] {
            assert_eq!(end_of(status, &[]), AttemptEnd::Delivered { status });
        }
        assert_eq!(end_of(410, &[]), AttemptEnd::Gone { status: 410 });
        for status in [
            300, 301, 302, 304, 307, 308, 400, 401, 404, 408, 409, 429, 500, 503, 599,
        ] {
            let end = end_of(status, &[]);
            let AttemptEnd::Failed {
                status: Some(code),
                retry_after: None,
                ..
            } = end
            else {
                panic!("{status}: {end:?}");
            };
            assert_eq!(code, status);
        }
    }

    #[test]
    fn a_wish_is_bounded_nonsense_is_none_and_a_date_is_measured_by_the_clock_that_made_it_or_ours()
    {
        let wish = |headers: &[(HeaderName, &'static str)]| match end_of(503, headers) {
            AttemptEnd::Failed { retry_after, .. } => retry_after.map(|wish| wish.as_secs()),
            end => panic!("{end:?}"),
        };
        for (value, expected) in [
            ("7", Some(7)),
            ("0", Some(1)),
            ("1000000000", Some(3600)),
            ("Sun, 06 Nov 1994 08:50:07 GMT", Some(30)),
            ("Sun, 06 Nov 1994 08:49:07 GMT", None),
            ("x", None),
            ("-5", None),
        ] {
            assert_eq!(wish(&[(RETRY_AFTER, value)]), expected, "{value}");
        }
        let date = (DATE, "Sun, 06 Nov 2044 08:49:37 GMT");
        let after = (RETRY_AFTER, "Sun, 06 Nov 2044 08:49:47 GMT");
        assert_eq!(wish(&[date, after]), Some(10));
    }
}
