//! The task object: EvoLink's JSON as last received, including unknown members, plus one member of
//! our own, `receiver`. Queries return it, and deliveries send it. It is separate from `http` and
//! `workers`, because these do not depend on each other.

use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde_json::json;

use crate::domain::ids::SubmissionId;
use crate::domain::json::Fields;
use crate::domain::observation::{Observation, RESULTS_MAX, Source, Status};
use crate::domain::task::{Accepted, State};
use crate::domain::timestamp::Timestamp;
use crate::evolink::ErrorEnvelope;
use crate::store::read::TaskView;
use crate::store::recorder::record::Record;

/// How long EvoLink keeps a result (from its z-image-turbo page).
const RESULTS_KEPT: Duration = Duration::from_hours(24);

/// The member of our own: what we know about a task in addition to what EvoLink says.
#[derive(Debug, Serialize)]
struct Receiver<'a> {
    submission_id: SubmissionId,
    state: &'static str,
    source: Option<&'static str>,
    submitted_at: Timestamp,
    outcome_at: Option<Timestamp>,
    client: Option<&'a str>,
    /// The unconfirmed outcome: a callback reported it, EvoLink has not.
    #[serde(skip_serializing_if = "Option::is_none")]
    unconfirmed: Option<&'static str>,
    results: Vec<ResultObject>,
    /// The number of results after the 64th, which are not fetched.
    #[serde(skip_serializing_if = "is_zero")]
    results_left_out: usize,
}

/// A result file. `url` is the address of the archived copy. It is absent while nothing is
/// archived.
#[derive(Debug, Serialize)]
struct ResultObject {
    url: Option<String>,
    origin_url: String,
    sha256: Option<String>,
    bytes: Option<u64>,
    content_type: Option<String>,
    archived_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde gives a reference")]
const fn is_zero(number: &usize) -> bool {
    *number == 0
}

/// The task as it is now.
pub fn of_view(view: &TaskView) -> Fields {
    let task = &view.record.task;
    build(
        &view.record,
        view.body.as_ref(),
        task.state(),
        task.accepted().map(|accepted| accepted.source),
        task.accepted().and_then(Accepted::outcome_at),
        task.claim().map(|claim| claim.state),
    )
}

/// The task as it was when `body` bound its id. If `body` reports an outcome, it was not confirmed
/// yet.
pub fn as_adopted_by(record: &Record, body: &Bytes, source: Source, at: Timestamp) -> Fields {
    match Observation::parse(body.clone()).map(|seen| seen.status) {
        Ok(Status::Completed | Status::Failed | Status::Cancelled) => {
            build(record, None, State::Pending, Some(source), None, None)
        }
        Ok(Status::Pending | Status::Processing | Status::Unknown(_)) | Err(_) => {
            as_told_by(record, body, source, at)
        }
    }
}

/// The task as it was after `body`.
pub fn as_told_by(record: &Record, body: &Bytes, source: Source, at: Timestamp) -> Fields {
    let seen = Observation::parse(body.clone());
    // Completion without results is believed only of polls, which repeat it. From any other source,
    // it ended nothing and was not shown.
    let is_doubtful = |seen: &Observation| {
        seen.status == Status::Completed && seen.results.is_empty() && source != Source::Poll
    };
    if seen.as_ref().is_ok_and(is_doubtful) {
        return build(record, None, State::Pending, Some(source), None, None);
    }
    let state = match seen.map(|seen| seen.status) {
        Ok(Status::Processing) => State::Processing,
        Ok(Status::Completed) => State::Completed,
        Ok(Status::Failed) => State::Failed,
        Ok(Status::Cancelled) => State::Cancelled,
        Ok(Status::Pending | Status::Unknown(_)) | Err(_) => State::Pending,
    };
    build(
        record,
        Some(body),
        state,
        Some(source),
        state.is_outcome().then_some(at),
        None,
    )
}

fn build(
    record: &Record,
    body: Option<&Bytes>,
    state: State,
    source: Option<Source>,
    outcome_at: Option<Timestamp>,
    claimed: Option<State>,
) -> Fields {
    let seen = body.and_then(|body| Observation::parse(body.clone()).ok());
    let urls = seen
        .as_ref()
        .map(|seen| seen.results.clone())
        .unwrap_or_default();
    let receiver = Receiver {
        submission_id: record.task.submission_id,
        state: state.into_str(),
        source: source.map(<&str>::from),
        submitted_at: record.task.submitted_at,
        outcome_at,
        client: record.client.as_deref(),
        unconfirmed: claimed.map(<&str>::from),
        results_left_out: urls.len().saturating_sub(RESULTS_MAX),
        results: urls
            .into_iter()
            .take(RESULTS_MAX)
            .map(|url| result(url, outcome_at))
            .collect(),
    };
    let mut fields = seen.map_or_else(|| unconfirmed(record), Observation::into_fields);
    fields.remove("receiver");
    fields.set("receiver", &receiver);
    fields
}

fn result(origin_url: String, outcome_at: Option<Timestamp>) -> ResultObject {
    ResultObject {
        url: None,
        origin_url,
        sha256: None,
        bytes: None,
        content_type: None,
        archived_at: None,
        expires_at: outcome_at.map(|at| at.after(RESULTS_KEPT)),
    }
}

/// Builds what to show while there is no body of EvoLink that can be shown. It has the form of
/// EvoLink's first answer. Its id is our own until the task id is known.
fn unconfirmed(record: &Record) -> Fields {
    let request = record
        .request
        .as_deref()
        .and_then(|request| Fields::parse(request).ok())
        .unwrap_or_default();
    let rejected = record.task.state() == State::Rejected;
    let mut fields = Fields::default();
    fields.set("created", &record.task.submitted_at.as_seconds());
    match record.task.task_id() {
        Some(task_id) => fields.set("id", task_id),
        None => fields.set("id", &record.task.submission_id),
    }
    fields.set("model", &request.read::<String>("model"));
    fields.set("object", &"image.generation.task");
    fields.set("progress", &0);
    fields.set("status", if rejected { &"failed" } else { &"pending" });
    fields.set("type", &"image");
    if rejected {
        let refusal = record.refusal.as_deref().and_then(ErrorEnvelope::parse);
        let (code, message) = refusal.map_or((None, None), |error| (error.code, error.message));
        fields.set(
            "error",
            &json!({
                "code": code.unwrap_or_else(|| "evolink_unreachable".to_owned()),
                "message": message.unwrap_or_else(|| "EvoLink did not accept this submit".to_owned()),
                "type": "task_error",
            }),
        );
    }
    fields
}
