//! Interprets EvoLink's answers. Pure: maps one answer, or its absence, to one result.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::envelope::{ErrorEnvelope, PAID_OUTCOME_UNKNOWN};
use super::unknown_task::is_unknown_task;
use crate::domain::observation::Observation;
use crate::retry_after;

/// One complete answer of EvoLink. Our key and our callback tokens are redacted.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
    pub content_type: Option<String>,
    /// The header as received. `retry_after()` parses it.
    pub retry_after: Option<String>,
    /// What identifies this version of the body (RFC 9110 section 8.8.3).
    pub etag: Option<String>,
    /// EvoLink's id of the request.
    pub request_id: Option<String>,
    pub(super) date: Option<String>,
}

/// The reason why there is no answer.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No connection was made, so nothing was sent. The causes are a refused connection, DNS or
    /// TLS.
    #[error("EvoLink was not reached: {reason}")]
    Unreachable { reason: String },
    /// The request was sent, or may have been. `status` is present if the head of the answer was
    /// readable. `body` is the part that arrived before the answer was cut off.
    #[error("EvoLink gave no readable answer: {reason}")]
    Unreadable {
        reason: String,
        status: Option<u16>,
        body: Bytes,
    },
}

/// The outcome of a submit.
pub enum SubmitReply {
    Accepted(Observation),
    /// EvoLink certainly neither accepted nor charged the submit.
    Refused(Answer),
    /// No connection was made, so nothing was sent.
    Unreachable {
        reason: String,
    },
    /// EvoLink may have accepted and charged the submit. It must never be sent again. `body` is the
    /// body of a 2xx or 3xx answer that contains no task.
    Unknown {
        reason: String,
        status: Option<u16>,
        body: Bytes,
    },
}

/// The outcome of a poll.
pub enum PollReply {
    /// May be about another task than the one in the request. The recorder checks that.
    Seen(Observation),
    /// EvoLink itself answered that it does not know the task. The error page of a gateway is
    /// `Failed`.
    Gone,
    /// Too many requests. `None` if EvoLink does not say how long to wait.
    Throttled { retry_after: Option<Duration> },
    /// No usable answer: EvoLink was not reached, was too slow, or answered with an error.
    Failed { reason: String },
    /// A 2xx answer that contains no task.
    Unreadable { body: Bytes, reason: String },
}

impl SubmitReply {
    /// Applies rule B12. Anything that is not certainly a refusal counts as unknown.
    pub(super) fn of(answer: Result<Answer, NoAnswer>) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(NoAnswer::Unreachable { reason }) => return Self::Unreachable { reason },
            Err(NoAnswer::Unreadable {
                reason,
                status,
                body,
            }) => {
                let may_tell = status.is_some_and(|status| (200..=399).contains(&status));
                return Self::Unknown {
                    reason,
                    status,
                    body: if may_tell { body } else { Bytes::new() },
                };
            }
        };
        let status = answer.status;
        let unknown_with = |reason: String, body: Bytes| Self::Unknown {
            reason,
            status: Some(status),
            body,
        };
        let unknown = |reason: String| unknown_with(reason, Bytes::new());
        match status {
            200..=299 => match Observation::parse(answer.body.clone()) {
                Ok(seen) => Self::Accepted(seen),
                Err(error) => {
                    let reason = format!("answered {status}, but with no task: {error}");
                    unknown_with(reason, answer.body)
                }
            },
            300..=399 => unknown_with(format!("answered {status}"), answer.body),
            408 => unknown("answered 408".to_owned()),
            400..=499 if ErrorEnvelope::has_code(&answer.body, PAID_OUTCOME_UNKNOWN) => unknown(
                format!("answered {status} with code {PAID_OUTCOME_UNKNOWN}"),
            ),
            400..=499 => Self::Refused(answer),
            _ => unknown(format!("answered {status}")),
        }
    }
}

impl PollReply {
    pub(super) fn of(answer: Result<Answer, NoAnswer>) -> Self {
        let answer = match answer {
            Ok(answer) => answer,
            Err(error) => {
                return Self::Failed {
                    reason: error.to_string(),
                };
            }
        };
        match answer.status {
            200..=299 => match Observation::parse(answer.body.clone()) {
                Ok(seen) => Self::Seen(seen),
                Err(error) => Self::Unreadable {
                    body: answer.body,
                    reason: error.to_string(),
                },
            },
            status if is_unknown_task(status, &answer.body) => Self::Gone,
            429 => Self::Throttled {
                retry_after: answer.retry_after(),
            },
            status @ (404 | 410) => Self::Failed {
                reason: format!("answered {status}, but not with EvoLink's error for a task"),
            },
            status => Self::Failed {
                reason: format!("answered {status}"),
            },
        }
    }
}

impl Answer {
    /// How long EvoLink asks us to wait, between 1 s and 1 h.
    pub fn retry_after(&self) -> Option<Duration> {
        retry_after::parse(self.retry_after.as_deref(), self.date.as_deref())
    }
}

impl fmt::Debug for Answer {
    /// Omits the body, which may contain a prompt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NoAnswer {
    /// Omits the body, which may contain a prompt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoAnswer({:?})", self.to_string())
    }
}

impl fmt::Debug for SubmitReply {
    /// Omits the bodies, which may contain a prompt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Accepted(seen) => f.debug_tuple("Accepted").field(seen).finish(),
            Self::Refused(answer) => f.debug_tuple("Refused").field(answer).finish(),
            Self::Unreachable { reason } => write!(f, "Unreachable({reason:?})"),
            Self::Unknown { reason, status, .. } => write!(f, "Unknown({status:?}, {reason:?})"),
        }
    }
}

impl fmt::Debug for PollReply {
    /// Omits the bodies, which may contain a prompt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Seen(seen) => f.debug_tuple("Seen").field(seen).finish(),
            Self::Gone => f.write_str("Gone"),
            Self::Throttled { retry_after } => write!(f, "Throttled({retry_after:?})"),
            Self::Failed { reason } => write!(f, "Failed({reason:?})"),
            Self::Unreadable { reason, .. } => write!(f, "Unreadable({reason:?})"),
        }
    }
}
