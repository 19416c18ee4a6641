//! Queries for tasks: one task, or a list.

pub mod batch;
pub mod history;
pub mod numbered;
pub mod prefer;
pub mod waiting;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::HeaderMap;
use serde::Serialize;
use strum::VariantArray as _;
use tokio::time::Instant;

use super::InternalState;
use super::access::Caller;
use super::error::ApiError;
use super::{query, relayed};
use crate::domain::ids::{SubmissionId, TaskId, is_reference};
use crate::domain::json::Fields;
use crate::domain::kind::Kind;
use crate::domain::task::State as TaskState;
use crate::domain::timestamp::Timestamp;
use crate::store::read::{self as store, TaskFilter, TaskName, TaskView};
use prefer::PREFERENCE_APPLIED;
use waiting::Wait;

const PARAMETERS: &str =
    "status, kind, model, client, reference, created_after, created_before, limit, cursor";

/// A page of tasks, newest first. With a filter it may be short or empty although another page
/// follows: one request searches only a bounded number of tasks.
#[derive(Debug, Serialize)]
pub struct TaskPage {
    data: Vec<Fields>,
    /// The `cursor` of the next page.
    next: Option<SubmissionId>,
}

/// Returns a task; with `wait`, once it is finished or the time is up.
pub async fn show(
    State(state): State<InternalState>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let wait = Wait::parse(query.as_deref(), &headers, state.archive.is_some())?;
    drop((query, headers));
    let deadline = wait.deadline(Instant::now());
    // Boxed, so that data that the wait does not need takes no memory while it waits.
    let name = name_of(id.ok())?;
    let own = caller.sees_only.as_deref();
    let found = Box::pin(state.store.find_task_of(&name, own)).await?;
    let Some(mut view) = found else {
        return match name {
            // EvoLink would also answer about tasks of other keys.
            TaskName::Task(id) if state.passes_unknown_tasks && own.is_none() => {
                relayed::unknown_task(&state, id.as_str()).await
            }
            TaskName::Task(_) | TaskName::Submission(_) => Err(ApiError::task_not_found()),
        };
    };
    if let Some(deadline) = deadline.filter(|_| !waiting::is_reached(&view, wait.goal)) {
        let permit = state.wait_permits.take(&caller)?;
        let id = view.record.task.submission_id;
        // Hold neither the task nor the caller's data while waiting.
        drop((view, caller));
        let found = waiting::until_over(&state, permit, id, wait.goal, deadline).await?;
        view = found.ok_or_else(ApiError::task_not_found)?;
    }
    let mut response = Json(state.task_objects.of_view(&view)).into_response();
    if let Some(applied) = wait.applied() {
        response
            .headers_mut()
            .insert(PREFERENCE_APPLIED.clone(), applied);
    }
    Ok(response)
}

pub async fn list(
    State(state): State<InternalState>,
    Extension(caller): Extension<Caller>,
    RawQuery(query): RawQuery,
) -> Result<Response, ApiError> {
    let query = query.as_deref().unwrap_or_default();
    if numbered::is_wanted(query) {
        return Ok(Json(numbered::list(&state, &caller, query).await?).into_response());
    }
    let (mut filter, limit) = parse_list_query(query)?;
    let page = if filter.narrow(&caller) {
        state.store.list_tasks(&filter, limit).await?
    } else {
        store::TaskPage::default()
    };
    let page = TaskPage {
        data: page
            .tasks
            .iter()
            .map(|view| state.task_objects.of_view(view))
            .collect(),
        next: page.next,
    };
    Ok(Json(page).into_response())
}

/// Returns the task. One that the caller may not see is as absent as one that does not exist.
pub async fn find(
    state: &InternalState,
    caller: &Caller,
    id: Option<Path<String>>,
) -> Result<TaskView, ApiError> {
    let name = name_of(id)?;
    let own = caller.sees_only.as_deref();
    let found = state.store.find_task_of(&name, own).await?;
    found.ok_or_else(ApiError::task_not_found)
}

fn name_of(id: Option<Path<String>>) -> Result<TaskName, ApiError> {
    let Path(id) = id.ok_or_else(ApiError::invalid_task_id)?;
    parse_name(&id).ok_or_else(ApiError::invalid_task_id)
}

/// Returns `None` for `.` and `..`, too: in the path of a request to EvoLink they would lead to
/// another resource.
pub fn parse_name(text: &str) -> Option<TaskName> {
    if matches!(text, "." | "..") {
        return None;
    }
    let submission = text.parse::<SubmissionId>().ok().map(TaskName::Submission);
    submission.or_else(|| TaskId::parse(text).map(TaskName::Task))
}

impl TaskFilter {
    /// Leaves out the tasks that the caller may not see. Returns whether any may be left.
    pub fn narrow(&mut self, caller: &Caller) -> bool {
        let Some(own) = caller.sees_only.as_deref() else {
            return true;
        };
        self.is_isolated = true;
        let wanted = self.client.replace(own.to_owned());
        wanted.is_none_or(|wanted| wanted == own)
    }
}

/// Parses the filters of a list, which are in the URL.
///
/// # Errors
/// 400 that names the first bad parameter.
pub fn parse_list_query(query: &str) -> Result<(TaskFilter, u32), ApiError> {
    let mut filter = TaskFilter::default();
    let mut limit = query::LIMIT_DEFAULT;
    for (name, value) in query::parameters(query, &[])? {
        match name.as_ref() {
            "status" => filter.state = Some(parse_state(&value)?),
            "kind" => filter.kind = Some(parse_kind(&value)?),
            "model" => filter.model = Some(parse_model(&value)?),
            "client" => filter.client = Some(parse_client(&value)?),
            "reference" => filter.reference = Some(parse_reference(&value)?),
            "created_after" => filter.created_after = Some(parse_time("created_after", &value)?),
            "created_before" => filter.created_before = Some(parse_time("created_before", &value)?),
            "limit" => limit = query::parse_limit(&value)?,
            "cursor" => filter.before = Some(query::cursor(value.parse().ok())?),
            other => return Err(query::unknown_parameter(other, PARAMETERS)),
        }
    }
    Ok((filter, limit))
}

/// Rejects U+0000. No client has it in its name, and PostgreSQL refuses it in a text value.
fn parse_client(text: &str) -> Result<String, ApiError> {
    if text.contains('\0') {
        let message = "`client` must be the name of an API key or a label";
        return Err(ApiError::invalid("client", message));
    }
    Ok(text.to_owned())
}

fn parse_kind(text: &str) -> Result<Kind, ApiError> {
    let message = "`kind` must be image, video or audio";
    text.parse().map_err(|_| ApiError::invalid("kind", message))
}

/// Rejects U+0000, which PostgreSQL refuses in a text value.
fn parse_model(text: &str) -> Result<String, ApiError> {
    if text.contains('\0') {
        let message = "`model` must be the name of a model";
        return Err(ApiError::invalid("model", message));
    }
    Ok(text.to_owned())
}

fn parse_reference(text: &str) -> Result<String, ApiError> {
    let message = "`reference` must be 1 to 128 characters, none of them a control character";
    is_reference(text)
        .then(|| text.to_owned())
        .ok_or_else(|| ApiError::invalid("reference", message))
}

fn parse_state(text: &str) -> Result<TaskState, ApiError> {
    text.parse().map_err(|_| {
        let known: Vec<&str> = TaskState::VARIANTS
            .iter()
            .map(TaskState::into_str)
            .collect();
        ApiError::invalid(
            "status",
            format!("`status` must be one of {}", known.join(", ")),
        )
    })
}

/// Parses RFC 3339, or Unix seconds as in EvoLink's `created`.
fn parse_time(name: &'static str, text: &str) -> Result<Timestamp, ApiError> {
    let seconds = text
        .parse::<i64>()
        .ok()
        .and_then(|seconds| seconds.checked_mul(1000));
    let rfc3339 = || {
        text.parse::<jiff::Timestamp>()
            .ok()
            .map(jiff::Timestamp::as_millisecond)
    };
    seconds
        .or_else(rfc3339)
        .map(Timestamp::from_millis)
        .ok_or_else(|| {
            let message = format!("`{name}` must be an RFC 3339 time or Unix seconds");
            ApiError::invalid(name, message)
        })
}
