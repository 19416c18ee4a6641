//! `POST /callbacks/{token}`: EvoLink reports the state of a task. The answer is 2xx only after the
//! callback is committed to disk.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use serde::Serialize;
use serde_json::json;
use tokio::time::{Instant, timeout_at};
use tracing::{debug, warn};

use super::PublicState;
use super::extract::{CallbackContent, CallbackRejection, VerifiedCallback};
use crate::domain::callback::Subject;
use crate::domain::ids::TaskId;
use crate::domain::observation::{Source, Status};
use crate::observe::metrics::{CallbackEnd, Metrics};
use crate::observe::untrusted::Untrusted;
use crate::store::recorder::entry::{Entry, Receipt};

/// Hands the callback to the recorder and waits for the commit, but gives up before EvoLink does.
pub async fn receive(
    State(state): State<Arc<PublicState>>,
    callback: Result<VerifiedCallback, CallbackRejection>,
) -> Response {
    let callback = match callback {
        Ok(callback) => callback,
        Err(rejection) => return rejection.into_response(),
    };
    let log = LogFields::of(&callback);
    let VerifiedCallback {
        subject,
        headers,
        content,
        deadline,
        mut counted,
        share: _share,
    } = callback;
    let source = Source::Callback;
    let entry = match content {
        CallbackContent::Observation(observation) => Entry::Observed {
            subject,
            observation,
            source,
            headers,
        },
        CallbackContent::Unreadable { body, reason } => Entry::Unreadable {
            subject,
            source,
            body,
            reason,
            headers,
        },
    };
    match timeout_at(deadline, state.recorder.record(entry)).await {
        Ok(Ok(receipt)) => {
            counted.end(end_of(receipt));
            answer(receipt, &log)
        }
        Ok(Err(error)) => {
            counted.end(CallbackEnd::Refused);
            warn!(submission.id = %log.subject, task.id = log.task_id(), error = %error, "a callback was not recorded: EvoLink is told to come again");
            try_again()
        }
        Err(_) => {
            counted.end(CallbackEnd::Refused);
            warn!(submission.id = %log.subject, task.id = log.task_id(), "a callback was not recorded in time: EvoLink is told to come again");
            try_again()
        }
    }
}

/// How log lines identify a callback. For a standing URL, which belongs to no submission, the
/// subject is the URL's label.
struct LogFields {
    subject: Subject,
    said: Said,
}

enum Said {
    Task { id: TaskId, status: Status },
    Unreadable { reason: String },
}

impl LogFields {
    fn of(callback: &VerifiedCallback) -> Self {
        let said = match &callback.content {
            CallbackContent::Observation(seen) => Said::Task {
                id: seen.task_id.clone(),
                status: seen.status.clone(),
            },
            CallbackContent::Unreadable { reason, .. } => Said::Unreadable {
                reason: reason.clone(),
            },
        };
        Self {
            subject: callback.subject.clone(),
            said,
        }
    }

    fn task_id(&self) -> Option<&str> {
        match &self.said {
            Said::Task { id, .. } => Some(id.as_str()),
            Said::Unreadable { .. } => None,
        }
    }
}

#[derive(Serialize)]
struct Recorded {
    result: &'static str,
}

/// Logs at debug level only: the recorder itself logs each body that it adds to quarantine, once.
fn answer(receipt: Receipt, log: &LogFields) -> Response {
    let subject = &log.subject;
    let (id, status) = match &log.said {
        Said::Task { id, status } => (id, Untrusted(status.as_str())),
        Said::Unreadable { reason } => {
            debug!(submission.id = %subject, reason, "a callback is not a task");
            let body = json!({"error": "invalid_body", "message": reason});
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
    };
    let Receipt::Seen { verdict, .. } = receipt else {
        debug!(submission.id = %subject, task.id = %id, "a callback is about another task than its URL is for");
        return (StatusCode::CONFLICT, Json(json!({"error": "other_task"}))).into_response();
    };
    let result = verdict.as_str();
    debug!(submission.id = %subject, task.id = %id, %status, result, "callback {result}");
    Json(Recorded { result }).into_response()
}

const fn end_of(receipt: Receipt) -> CallbackEnd {
    match receipt {
        Receipt::Seen { verdict, .. } => CallbackEnd::Seen(verdict),
        _ => CallbackEnd::Quarantined,
    }
}

pub fn try_again() -> Response {
    let retry_after = [(header::RETRY_AFTER, HeaderValue::from_static("1"))];
    (StatusCode::SERVICE_UNAVAILABLE, retry_after).into_response()
}

/// The time by which our answer must be sent.
pub fn deadline(state: &PublicState) -> Instant {
    Instant::now() + state.request_timeout
}

/// Counts each callback once, whatever its result, also if the client disconnects and the handler's
/// future is dropped.
pub struct Counted {
    metrics: Metrics,
    end: CallbackEnd,
}

impl Counted {
    pub fn begin(metrics: &Metrics) -> Self {
        metrics.callback_received();
        Self {
            metrics: metrics.clone(),
            end: CallbackEnd::Aborted,
        }
    }

    pub fn end(&mut self, end: CallbackEnd) {
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
