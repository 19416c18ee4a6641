//! `POST /callbacks/{token}`: EvoLink reports the state of a task. The answer is 2xx only after the
//! callback is committed to disk.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde::Serialize;
use serde_json::json;
use tokio::time::timeout_at;
use tracing::{debug, warn};

use super::answers::try_again;
use super::extract::{CallbackContent, CallbackRejection, VerifiedCallback};
use super::state::PublicState;
use crate::domain::callback::Subject;
use crate::domain::ids::TaskId;
use crate::domain::observation::{Source, Status};
use crate::observe::callback_path::CallbackRefusal;
use crate::observe::metrics::CallbackEnd;
use crate::observe::untrusted::Untrusted;
use crate::store::StoreError;
use crate::store::recorder::Recorder;
use crate::store::recorder::calls::Observed;

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
        peer,
        deadline,
        mut counted,
        share: _share,
    } = callback;
    let recording = record(&state.recorder, subject, headers, content);
    match timeout_at(deadline, recording).await {
        Ok(Ok(recorded)) => {
            counted.end(recorded.end());
            answer(recorded, &log)
        }
        Ok(Err(error)) => {
            counted.end(CallbackEnd::Refused);
            (state.callback_path).refused(CallbackRefusal::NotRecorded, peer);
            warn!(submission.id = %log.subject, task.id = log.task_id(), error = %error, "could not record the callback; answering 503 so that EvoLink retries");
            try_again()
        }
        Err(_) => {
            counted.end(CallbackEnd::Refused);
            (state.callback_path).refused(CallbackRefusal::NotRecorded, peer);
            warn!(submission.id = %log.subject, task.id = log.task_id(), "could not record the callback in time; answering 503 so that EvoLink retries");
            try_again()
        }
    }
}

/// The result of recording a callback.
#[derive(Clone, Copy)]
enum Recorded {
    Observed(Observed),
    /// It was no task, and is in quarantine.
    Unreadable,
}

impl Recorded {
    const fn end(self) -> CallbackEnd {
        match self {
            Self::Observed(Observed::Applied(verdict)) => CallbackEnd::Seen(verdict),
            Self::Observed(Observed::Mismatch) | Self::Unreadable => CallbackEnd::Quarantined,
        }
    }
}

async fn record(
    recorder: &Recorder,
    subject: Subject,
    headers: HeaderMap,
    content: CallbackContent,
) -> Result<Recorded, StoreError> {
    let source = Source::Callback;
    match content {
        CallbackContent::Observation(observation) => {
            let observing = recorder.observe(subject, observation, source, headers);
            observing.await.map(Recorded::Observed)
        }
        CallbackContent::Unreadable { body, reason } => {
            let keeping = recorder.keep_in_quarantine(subject, source, body, reason, headers);
            keeping.await.map(|()| Recorded::Unreadable)
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
struct Body {
    result: &'static str,
}

/// Logs at debug level only: the recorder itself logs each body that it adds to quarantine, once.
fn answer(recorded: Recorded, log: &LogFields) -> Response {
    let subject = &log.subject;
    let (id, status) = match &log.said {
        Said::Task { id, status } => (id, Untrusted(status.as_str())),
        Said::Unreadable { reason } => {
            debug!(submission.id = %subject, reason, "a callback is not a task");
            let body = json!({"error": "invalid_body", "message": reason});
            return (StatusCode::BAD_REQUEST, Json(body)).into_response();
        }
    };
    match recorded {
        Recorded::Observed(Observed::Applied(verdict)) => {
            let result = verdict.into_str();
            debug!(submission.id = %subject, task.id = %id, %status, result, "callback {result}");
            Json(Body { result }).into_response()
        }
        Recorded::Observed(Observed::Mismatch) | Recorded::Unreadable => {
            debug!(submission.id = %subject, task.id = %id, "a callback is about another task than its URL is for");
            (StatusCode::CONFLICT, Json(json!({"error": "other_task"}))).into_response()
        }
    }
}
