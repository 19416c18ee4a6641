//! What EvoLink's answers mean. Pure: from one answer, or the lack of one, to one verdict.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::envelope::{ErrorEnvelope, PAID_OUTCOME_UNKNOWN};
use super::retry_after::retry_after;
use super::unknown_task::is_unknown_task;
use crate::domain::observation::Observation;

/// One whole answer of EvoLink. Our key and our callback tokens are redacted in it.
#[derive(Clone, PartialEq, Eq)]
pub struct Answer {
    pub status: u16,
    pub body: Bytes,
    pub content_type: Option<String>,
    /// As it came; `retry_after()` reads it.
    pub retry_after: Option<String>,
    /// EvoLink's own id of the request.
    pub request_id: Option<String>,
    pub(super) date: Option<String>,
}

/// Why there is no answer.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoAnswer {
    /// No connection was made, so nothing was sent: refused, DNS, TLS.
    #[error("EvoLink was not reached: {reason}")]
    Unreachable { reason: String },
    /// The request went out, or may have. `status` is there if the answer had a readable head, `body` is what came of it before
    /// it was cut off.
    #[error("EvoLink gave no readable answer: {reason}")]
    Unreadable {
        reason: String,
        status: Option<u16>,
        body: Bytes,
    },
}

/// What became of a submit.
pub enum SubmitReply {
    Accepted(Observation),
    /// Known not to have been accepted, nor charged.
    Refused(Answer),
    /// No connection was made, so nothing was sent.
    Unreachable {
        reason: String,
    },
    /// It may have been accepted and charged. Never to be sent again. `body` is what came with success or a redirect, and
    /// is no task.
    Unknown {
        reason: String,
        status: Option<u16>,
        body: Bytes,
    },
}

/// What became of a poll.
pub enum PollReply {
    /// Perhaps about another task than the one asked about; the recorder judges that.
    Seen(Observation),
    /// EvoLink's own answer that it does not know the task. A page of something in front of it is a
    /// failure.
    Gone,
    /// Too many requests; `None` if EvoLink does not say how long to wait.
    Throttled { retry_after: Option<Duration> },
    /// No usable answer: not reached, too late, an error.
    Failed { reason: String },
    /// Success, but no task.
    Unreadable { body: Bytes, reason: String },
}

impl SubmitReply {
    /// Rule B12. What is not known to be a refusal counts as unknown.
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
        retry_after(self.retry_after.as_deref(), self.date.as_deref())
    }
}

impl fmt::Debug for Answer {
    /// Without the body, which may repeat a prompt.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer")
            .field("status", &self.status)
            .field("body_bytes", &self.body.len())
            .field("request_id", &self.request_id)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for NoAnswer {
    /// Without the body, as above.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "NoAnswer({:?})", self.to_string())
    }
}

impl fmt::Debug for SubmitReply {
    /// Without bodies, as above.
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
    /// Without bodies, as above.
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
