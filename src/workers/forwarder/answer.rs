//! Interprets an endpoint's answer: what it means for the delivery, and for the endpoint as a
//! whole.
//!
//! Most answers are about that delivery only, and others may succeed meanwhile. Three kinds are
//! about the endpoint instead: no answer at all, an error that a gateway sends in its place, and a
//! request to slow down.

use std::time::Duration;

use http::{HeaderMap, StatusCode};
use tokio::time::timeout;

use crate::domain::delivery::AttemptEnd;
use crate::domain::timestamp::Timestamp;
use crate::retry_after;

/// The part of an answer's body that is read so that the connection can be reused, in bytes. If the
/// body is longer, the connection is closed.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// The time to wait for that body.
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// The result of an attempt, as far as the endpoint as a whole is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndpointOutcome {
    /// The endpoint works, whatever it answered to this delivery.
    Answered,
    /// The endpoint accepts no deliveries now. `retry_after` is the back-off period that it asked
    /// for.
    Unavailable { retry_after: Option<Duration> },
}

/// Returns what the head of an answer means for the delivery. `now` is the system's time, which
/// dates in the answer are compared with if it has no `Date`.
pub fn end(status: StatusCode, headers: &HeaderMap, now: Timestamp) -> AttemptEnd {
    let code = status.as_u16();
    if status.is_success() {
        return AttemptEnd::Delivered { status: code };
    }
    let reason = if status.is_redirection() {
        format!("answered {code}: redirects are not followed")
    } else {
        format!("answered {code}")
    };
    AttemptEnd::Failed {
        status: Some(code),
        reason,
        retry_after: retry_after::of_answer(headers, now),
    }
}

/// Returns what the outcome of an attempt says about the endpoint, or `None` if nothing was sent.
/// `is_standing` means that the endpoint is one of the configuration, where a 410 is about the
/// endpoint. At an app's own address, a 410 is about that address only.
pub fn outcome(end: &AttemptEnd, is_standing: bool) -> Option<EndpointOutcome> {
    match end {
        AttemptEnd::Delivered { .. } => Some(EndpointOutcome::Answered),
        AttemptEnd::Failed {
            status,
            retry_after,
            ..
        } => {
            let is_unavailable = match status {
                None | Some(429 | 502 | 503 | 504) => true,
                Some(_) => end.says_gone() && is_standing,
            };
            Some(if is_unavailable {
                let retry_after = *retry_after;
                EndpointOutcome::Unavailable { retry_after }
            } else {
                EndpointOutcome::Answered
            })
        }
        AttemptEnd::Refused { .. } | AttemptEnd::GivenBack => None,
    }
}

/// Reads the body, within bounds, and discards it.
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
    use http::header::{DATE, HeaderName, RETRY_AFTER};

    use super::*;

    /// 1994-11-06 08:49:37 UTC.
    const NOW: Timestamp = Timestamp::from_millis(784_111_777_000);

    fn end_of(status: u16, headers: &[(HeaderName, &'static str)]) -> AttemptEnd {
        let headers = headers
            .iter()
            .map(|(name, value)| (name.clone(), HeaderValue::from_static(value)));
        let status = StatusCode::from_u16(status).unwrap();
        end(status, &headers.collect(), NOW)
    }

    #[test]
    fn only_2xx_delivers_and_every_other_answer_is_a_failure() {
        for status in [200, 201, 202, 204, 226, 299] {
            assert_eq!(end_of(status, &[]), AttemptEnd::Delivered { status });
        }
        for status in [
            300, 301, 302, 304, 307, 308, 400, 401, 404, 408, 409, 410, 429, 500, 503, 599,
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
    fn only_what_says_nothing_about_the_delivery_is_about_the_endpoint() {
        let unavailable = Some(EndpointOutcome::Unavailable { retry_after: None });
        for status in [
            200, 204, 301, 400, 401, 403, 404, 408, 409, 422, 500, 501, 505,
        ] {
            let end = end_of(status, &[]);
            assert_eq!(
                outcome(&end, true),
                Some(EndpointOutcome::Answered),
                "{status}"
            );
        }
        for status in [429, 502, 503, 504] {
            let end = end_of(status, &[]);
            assert_eq!(outcome(&end, true), unavailable, "{status}");
        }
        let end = end_of(410, &[]);
        assert_eq!(outcome(&end, true), unavailable);
        assert_eq!(outcome(&end, false), Some(EndpointOutcome::Answered));
        let no_answer = AttemptEnd::Failed {
            status: None,
            reason: "no answer in time".to_owned(),
            retry_after: None,
        };
        assert_eq!(outcome(&no_answer, true), unavailable);
        assert_eq!(outcome(&AttemptEnd::GivenBack, true), None);
        let slow_down = end_of(429, &[(RETRY_AFTER, "7")]);
        let retry_after = Some(Duration::from_secs(7));
        let wanted = EndpointOutcome::Unavailable { retry_after };
        assert_eq!(outcome(&slow_down, true), Some(wanted));
    }

    #[test]
    fn a_retry_delay_is_bounded_and_a_date_is_compared_with_the_date_of_the_answer_or_our_clock() {
        let delay = |headers: &[(HeaderName, &'static str)]| match end_of(503, headers) {
            AttemptEnd::Failed { retry_after, .. } => retry_after.map(|delay| delay.as_secs()),
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
            assert_eq!(delay(&[(RETRY_AFTER, value)]), expected, "{value}");
        }
        let date = (DATE, "Sun, 06 Nov 2044 08:49:37 GMT");
        let after = (RETRY_AFTER, "Sun, 06 Nov 2044 08:49:47 GMT");
        assert_eq!(delay(&[date, after]), Some(10));
    }
}
