//! `POST /callbacks/{token}`: EvoLink tells how a task is. Answered 2xx only once it is on the disk.

use std::fmt;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tracing::{error, info, warn};

use super::extract::{CallbackContent, CallbackRejection, VerifiedCallback};
use super::public::PublicState;
use crate::domain::callback_token::Subject;
use crate::domain::observation::Source;
use crate::domain::task::Verdict;
use crate::metrics::{CallbackEnd, Metrics};
use crate::store::entry::{Entry, Receipt};
use crate::untrusted::Untrusted;

pub async fn receive(
    State(state): State<PublicState>,
    callback: Result<VerifiedCallback, CallbackRejection>,
) -> Response {
    match callback {
        Ok(callback) => record(&state, callback).await,
        Err(rejection) => rejection.into_response(),
    }
}

/// Hands the callback to the recorder and waits for the disk, but not longer than EvoLink waits for us.
async fn record(state: &PublicState, callback: VerifiedCallback) -> Response {
    let VerifiedCallback {
        subject,
        headers,
        content,
        deadline,
        mut counted,
        _share,
    } = callback;
    let log = LogFields::of(&subject, &content);
    let (entry, refusal) = match content {
        CallbackContent::Observation(observation) => (
            Entry::Observed {
                subject,
                observation,
                source: Source::Callback,
                headers,
            },
            None,
        ),
        CallbackContent::Unreadable { body, reason } => {
            let refusal = reason.clone();
            (
                Entry::Unreadable {
                    subject,
                    source: Source::Callback,
                    body,
                    reason,
                    headers,
                },
                Some(refusal),
            )
        }
    };
    match timeout_at(deadline, state.recorder.record(entry)).await {
        Ok(Ok(receipt)) => {
            counted.end(end_of(receipt));
            answer(receipt, &log, refusal)
        }
        Ok(Err(error)) => {
            counted.end(CallbackEnd::Refused);
            let LogFields {
                subject, task_id, ..
            } = log;
            warn!(submission.id = %subject, task.id = task_id, error = %error, "a callback was not recorded: EvoLink is told to come again");
            try_again()
        }
        Err(_) => {
            counted.end(CallbackEnd::Refused);
            let LogFields {
                subject, task_id, ..
            } = log;
            warn!(submission.id = %subject, task.id = task_id, "a callback was not recorded in time: EvoLink is told to come again");
            try_again()
        }
    }
}

/// What a log line names a callback by. In place of the submission id a standing URL has its label.
struct LogFields {
    subject: Subject,
    task_id: Option<String>,
    status: Option<String>,
}

impl LogFields {
    fn of(subject: &Subject, content: &CallbackContent) -> Self {
        let seen = match content {
            CallbackContent::Observation(seen) => Some(seen),
            CallbackContent::Unreadable { .. } => None,
        };
        Self {
            subject: subject.clone(),
            task_id: seen.map(|seen| seen.task_id.to_string()),
            status: seen.map(|seen| Untrusted(seen.status.as_str()).to_string()),
        }
    }
}

fn answer(receipt: Receipt, log: &LogFields, refusal: Option<String>) -> Response {
    let (subject, task_id) = (&log.subject, log.task_id.as_deref());
    let status = log.status.as_deref();
    match (receipt, refusal) {
        (_, Some(reason)) => {
            warn!(submission.id = %subject, reason, "a callback is not a task: kept in quarantine");
            (
                StatusCode::BAD_REQUEST,
                Json(json!({"error": "invalid_body", "message": reason})),
            )
                .into_response()
        }
        (Receipt::Seen { verdict, .. }, None) => {
            if verdict == Verdict::Conflict {
                error!(submission.id = %subject, task.id = task_id, status, "a callback tells another outcome than the recorded one, which stays");
            } else {
                let result = verdict.as_str();
                info!(submission.id = %subject, task.id = task_id, status, result, "callback {result}");
            }
            Json(json!({"result": verdict.as_str()})).into_response()
        }
        (_, None) => {
            warn!(submission.id = %subject, task.id = task_id, "a callback is about another task than its URL: kept in quarantine");
            (StatusCode::CONFLICT, Json(json!({"error": "other_task"}))).into_response()
        }
    }
}

const fn end_of(receipt: Receipt) -> CallbackEnd {
    match receipt {
        Receipt::Seen { verdict, .. } => CallbackEnd::Seen(verdict),
        _ => CallbackEnd::Quarantined,
    }
}

pub(super) fn try_again() -> Response {
    let retry_after = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry_after).into_response()
}

/// When our answer must be out.
pub(super) fn deadline(state: &PublicState) -> Instant {
    Instant::now() + state.request_timeout
}

/// Counts a callback once, however it ends: also if its client goes away and its future is dropped.
pub struct Counted {
    metrics: Metrics,
    end: CallbackEnd,
}

impl Counted {
    pub(super) fn begin(metrics: &Metrics) -> Self {
        metrics.callback_received();
        Self {
            metrics: metrics.clone(),
            end: CallbackEnd::Aborted,
        }
    }

    pub(super) fn end(&mut self, end: CallbackEnd) {
        self.end = end;
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.metrics.callback_ended(self.end);
    }
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted")
            .field("end", &self.end)
            .finish_non_exhaustive()
    }
}
