//! `POST /v1/images/generations`, and the same for videos and audios: an app submits a task. The
//! request is validated here; `submit` does the rest.

mod headers;
pub mod presence;

use std::time::Duration;

use axum::Extension;
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::time::Instant;
use tracing::Instrument as _;

use super::InternalState;
use super::access::Caller;
use super::error::{ApiError, IDEMPOTENCY_REPLAYED, SUBMISSION_ID};
use super::passed_on::pass_on;
use super::tasks::waiting;
use crate::config::Scope;
use crate::domain::generation::Generation;
use crate::domain::ids::SubmissionId;
use crate::domain::kind::Kind;
use crate::http::internal::tasks::prefer::PREFERENCE_APPLIED;
use crate::http::internal::tasks::waiting::Wait;
use crate::http::serve::body::{BodyError, BudgetShare, declared_length, is_identity, read_body};
use crate::http::serve::peer::Peer;
use crate::observe::metrics::SubmitEnd;
use crate::store::recorder::entry::Idempotency;
use crate::submit::{Accepted, Outcome, Submission};
use crate::task_object::TaskObjects;
use crate::turns;
use headers::{client_reference, idempotency_key};
use presence::Presence;

/// Maximum time for a small body to arrive. Even a slow client sends a prompt within it.
const BODY_TIME_MIN: Duration = Duration::from_secs(10);

/// The slowest rate at which a larger body may arrive, in bytes per second.
const BODY_RATE_MIN: u64 = 256 * 1024;

/// The app's waiting time counts from the start of this function.
pub async fn create(
    State(state): State<InternalState>,
    Extension(kind): Extension<Kind>,
    Extension(caller): Extension<Caller>,
    request: Request,
) -> Result<Response, ApiError> {
    let start = Instant::now();
    let peer = request.extensions().get::<Peer>().cloned();
    let judged = Box::pin(judge(&state, kind, &caller, request)).await;
    let (submission, wait, share) = match judged {
        Ok(judged) => judged,
        Err(error) => {
            let is_invalid = error.status().is_client_error();
            let end = if is_invalid {
                SubmitEnd::Invalid
            } else {
                SubmitEnd::Overloaded
            };
            state.metrics.submit_ended(end, kind);
            return Err(error);
        }
    };
    if state.store.is_nearly_full() {
        state.metrics.submit_ended(SubmitEnd::NoRoom, kind);
        return Err(ApiError::store_nearly_full());
    }
    let id = SubmissionId::new(state.clock.now());
    let is_guarded = state.submits.is_guarded(&submission);
    let mut presence = Presence::begin(&state.recorder, id, is_guarded, peer);
    let disconnected = presence.disconnected();
    // The submit runs on its own worker, so that an app that disconnects does not leave it half
    // recorded.
    let mut submits = state.submits.clone();
    if caller.may(Scope::Read) {
        submits.task_objects = submits.task_objects.for_readers();
    }
    let objects = submits.task_objects.clone();
    let running = async move {
        let outcome = submits.run(&submission, id, &disconnected).await;
        // The body is in memory until here.
        drop(share);
        outcome
    };
    let running = turns::working_for(caller.key(), running);
    let running = state.submits.running.spawn(running.in_current_span());
    let (response, accepted) = match (running.await, wait.deadline(start)) {
        (Ok(Outcome::Accepted(accepted)), deadline) => {
            let id = accepted.submission_id;
            let response = match deadline {
                Some(deadline) => {
                    answer_in_time(&state, &caller, accepted, deadline, wait, &objects).await
                }
                None => answer(&accepted),
            };
            (response, Some(id))
        }
        (
            Ok(Outcome::Refused {
                answer,
                submission_id,
            }),
            _,
        ) => (with_submission_id(pass_on(*answer), submission_id), None),
        (ended, _) => {
            // The submit may have panicked after EvoLink was called, so this error must not invite
            // a retry.
            let error = match ended {
                Ok(outcome) => ApiError::from(outcome),
                Err(_) => ApiError::internal().about(id),
            };
            if error.forbids_retry() {
                presence.lose();
            }
            (error.into_response(), None)
        }
    };
    Ok(presence.hand_over(response, accepted))
}

/// Answers with the task once it is finished or the deadline has passed.
///
/// EvoLink has charged this submit, so the app always gets an answer. If too many requests wait
/// already, it does not wait. If the store fails, it gets EvoLink's first answer.
async fn answer_in_time(
    state: &InternalState,
    caller: &Caller,
    mut accepted: Accepted,
    deadline: Instant,
    wait: Wait,
    objects: &TaskObjects,
) -> Response {
    let Ok(permit) = state.wait_permits.take(caller) else {
        return answer(&accepted);
    };
    let waiting = waiting::until_over(state, permit, accepted.submission_id, wait.goal, deadline);
    if let Ok(Some(view)) = waiting.await {
        accepted.task = objects.of_view(&view);
    }
    let mut response = answer(&accepted);
    if let Some(applied) = wait.applied() {
        let headers = response.headers_mut();
        headers.insert(PREFERENCE_APPLIED.clone(), applied);
    }
    response
}

/// Validates the request in the order of rule B9. 401 and 403 were decided before.
async fn judge(
    state: &InternalState,
    kind: Kind,
    caller: &Caller,
    request: Request,
) -> Result<(Submission, Wait, BudgetShare), ApiError> {
    let (parts, body) = request.into_parts();
    check_media_type(&parts.headers)?;
    let (body, share) = read(state, &parts.headers, body).await?;
    let wait = Wait::parse(parts.uri.query(), &parts.headers, state.archive.is_some())?;
    let generation = Generation::parse(kind, &body, state.allow_unknown_fields)?;
    if !state.models.allows(&generation.model) {
        return Err(ApiError::model_not_allowed(&generation.model));
    }
    if let Some(callback_url) = &generation.callback_url {
        let judged = state.endpoints.egress.judge_text(callback_url);
        judged.map_err(|refused| ApiError::refused_callback_url(&refused))?;
    }
    let idempotency = idempotency_key(&parts.headers)?.map(|key| Idempotency {
        name: format!("{}/{key}", caller.key()),
        fingerprint: generation.fingerprint().to_bytes(),
    });
    let submission = Submission {
        generation,
        client: caller.name.as_deref().map(str::to_owned),
        limits: caller.limits,
        reference: client_reference(&parts.headers)?,
        idempotency,
    };
    Ok((submission, wait, share))
}

async fn read(
    state: &InternalState,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Bytes, BudgetShare), ApiError> {
    let (most, budget) = (state.body_bytes_max, &state.body_budget);
    if declared_length(headers).is_some_and(|length| length > most as u64) {
        return Err(ApiError::body(BodyError::TooLarge, most));
    }
    let time = BODY_TIME_MIN + Duration::from_secs(most as u64 / BODY_RATE_MIN);
    let no_slot_needed = || Some(());
    let read = read_body(body, most, time, budget, no_slot_needed).await;
    read.map_err(|error| ApiError::body(error, most))
}

fn check_media_type(headers: &HeaderMap) -> Result<(), ApiError> {
    if !is_identity(headers) {
        return Err(ApiError::unsupported_media_type(
            "no Content-Encoding is supported",
        ));
    }
    let mut values = headers.get_all(header::CONTENT_TYPE).iter();
    let is_json = match (
        values.next().and_then(|value| value.to_str().ok()),
        values.next(),
    ) {
        (Some(value), None) => is_json(value),
        _ => false,
    };
    let wanted = "Content-Type must be application/json, in UTF-8";
    is_json
        .then_some(())
        .ok_or_else(|| ApiError::unsupported_media_type(wanted))
}

/// Whether the type is `application/json` or `…+json`, with no charset other than UTF-8.
fn is_json(content_type: &str) -> bool {
    let mut parts = content_type.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let suffixed = essence
        .split_once('/')
        .is_some_and(|(_, subtype)| subtype.ends_with("+json"));
    let charset_is_utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.trim().eq_ignore_ascii_case("charset") => {
            let value = value.trim().trim_matches('"');
            value.eq_ignore_ascii_case("utf-8") || value.eq_ignore_ascii_case("utf8")
        }
        _ => true,
    };
    (essence == "application/json" || suffixed) && parts.all(charset_is_utf8)
}

fn answer(accepted: &Accepted) -> Response {
    let mut response = (StatusCode::OK, Json(&accepted.task)).into_response();
    let task_id = accepted.task.read::<String>("id").unwrap_or_default();
    set(
        &mut response,
        header::LOCATION,
        format!("/v1/tasks/{task_id}"),
    );
    if accepted.earlier.is_some() {
        set(
            &mut response,
            IDEMPOTENCY_REPLAYED.clone(),
            "true".to_owned(),
        );
    }
    with_submission_id(response, accepted.submission_id)
}

fn with_submission_id(mut response: Response, id: SubmissionId) -> Response {
    set(&mut response, SUBMISSION_ID.clone(), id.to_string());
    response
}

fn set(response: &mut Response, name: HeaderName, value: String) {
    if let Ok(value) = HeaderValue::try_from(value) {
        response.headers_mut().insert(name, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_recognized_by_its_media_type() {
        for yes in [
            "application/json",
            "APPLICATION/JSON; charset=UTF-8",
            "application/vnd.x+json",
            "application/json;charset=\"utf-8\"; x=y",
        ] {
            assert!(is_json(yes), "{yes}");
        }
        for no in [
            "",
            "text/plain",
            "application/json; charset=utf-16",
            "application/jsonx",
            "json",
        ] {
            assert!(!is_json(no), "{no}");
        }
    }
}
