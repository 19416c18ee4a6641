//! Questions about tasks: one, many, and how one came to be what it is.

use std::borrow::Cow;
use std::{io, iter};

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;
use serde::Serialize;

use super::error::ApiError;
use super::internal::InternalState;
use super::task_object;
use crate::domain::event::EventType;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::json::Fields;
use crate::domain::observation::{Observation, Source};
use crate::domain::task::State as TaskState;
use crate::domain::timestamp::Timestamp;
use crate::store::history::{HistoryItem, HistoryKind};
use crate::store::reads::{TaskFilter, TaskName, TaskView};

/// Tasks on a page if nothing is said; and at most.
const LIMIT_DEFAULT: u32 = 50;
const LIMIT_MAX: u32 = 200;

/// A page of tasks, newest first. With a filter it may be short, or empty, and have a page after: what is rare is looked for
/// a page at a time.
#[derive(Debug, Serialize)]
pub struct TaskPage {
    data: Vec<Fields>,
    /// To be given as `cursor` for the page after.
    next: Option<SubmissionId>,
}

pub async fn show(
    State(state): State<InternalState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Json<Fields>, ApiError> {
    let view = find(&state, id.ok()).await?;
    Ok(Json(task_object::of_view(&view)))
}

pub async fn list(
    State(state): State<InternalState>,
    RawQuery(query): RawQuery,
) -> Result<Json<TaskPage>, ApiError> {
    let (filter, limit) = parse_list_query(query.as_deref().unwrap_or_default())?;
    let page = state.store.list_tasks(&filter, limit).await?;
    Ok(Json(TaskPage {
        data: page.tasks.iter().map(task_object::of_view).collect(),
        next: page.next,
    }))
}

/// Each observation and event, one after the other: all of them together may be large.
pub async fn history(
    State(state): State<InternalState>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let view = find(&state, id.ok()).await?;
    let items = match view.record.seq {
        Some(seq) => state.store.list_history(seq).await?,
        None => Vec::new(),
    };
    let separators = iter::once("").chain(iter::repeat(","));
    let data = items.into_iter().zip(separators);
    let data = data.map(move |(item, separator)| Ok(line(separator, &shown(&view, &item))?));
    let begin = iter::once(Ok(Bytes::from_static(br#"{"data":["#)));
    let end = iter::once(Ok::<_, io::Error>(Bytes::from_static(b"]}")));
    let body = Body::from_stream(stream::iter(begin.chain(data).chain(end)));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn line(separator: &str, item: &Shown) -> serde_json::Result<Bytes> {
    let mut line = separator.as_bytes().to_vec();
    serde_json::to_writer(&mut line, item)?;
    Ok(line.into())
}

async fn find(state: &InternalState, id: Option<Path<String>>) -> Result<TaskView, ApiError> {
    let Path(id) = id.ok_or_else(ApiError::invalid_task_id)?;
    let name = parse_name(&id).ok_or_else(ApiError::invalid_task_id)?;
    state
        .store
        .find_task(&name)
        .await?
        .ok_or_else(ApiError::task_not_found)
}

fn parse_name(text: &str) -> Option<TaskName> {
    let submission = text.parse::<SubmissionId>().ok().map(TaskName::Submission);
    submission.or_else(|| TaskId::parse(text).map(TaskName::Task))
}

/// An item of the history as apps get it.
#[derive(Serialize)]
struct Shown<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    seq: Option<i64>,
    r#type: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    n: Option<i64>,
    at: Timestamp,
    submission_id: SubmissionId,
    task_id: Option<&'a TaskId>,
    source: Option<&'a str>,
    #[serde(flatten)]
    told: Told<'a>,
}

#[derive(Serialize)]
#[serde(untagged)]
enum Told<'a> {
    Event {
        task: Fields,
    },
    Observation {
        result: &'a str,
        body: Option<Fields>,
    },
}

fn shown<'a>(view: &'a TaskView, item: &'a HistoryItem) -> Shown<'a> {
    let task = &view.record.task;
    let (at, submission_id, task_id) = (item.at, task.submission_id, task.task_id.as_ref());
    match &item.kind {
        HistoryKind::Event {
            seq,
            event_type,
            source,
            body,
        } => Shown {
            seq: Some(*seq),
            r#type: event_type.as_str(),
            n: None,
            at,
            submission_id,
            task_id,
            source: source.map(Source::as_str),
            told: Told::Event {
                task: task_of_event(view, *event_type, *source, body.as_ref(), at),
            },
        },
        HistoryKind::Observation {
            number,
            source,
            result,
            body,
        } => Shown {
            seq: None,
            r#type: "observation",
            n: Some(*number),
            at,
            submission_id,
            task_id,
            source: Some(source.as_str()),
            told: Told::Observation {
                result,
                body: Observation::parse(body.clone())
                    .ok()
                    .map(Observation::into_fields),
            },
        },
    }
}

/// The task as it was when the event came about. An event that tells of no new state shows the recorded task: neither a
/// conflicting body, which is in its observation, nor our giving up is a state that EvoLink told of.
fn task_of_event(
    view: &TaskView,
    event_type: EventType,
    source: Option<Source>,
    body: Option<&Bytes>,
    at: Timestamp,
) -> Fields {
    match (event_type, source, body) {
        (EventType::Conflict | EventType::Unresolved, ..) | (_, None, _) | (_, _, None) => {
            task_object::of_view(view)
        }
        (EventType::Submitted, Some(source), Some(body)) => {
            task_object::as_adopted_by(&view.record, body, source, at)
        }
        (_, Some(source), Some(body)) => task_object::as_told_by(&view.record, body, source, at),
    }
}

fn parse_list_query(query: &str) -> Result<(TaskFilter, u32), ApiError> {
    let mut filter = TaskFilter::default();
    let mut limit = LIMIT_DEFAULT;
    for (name, value) in url::form_urlencoded::parse(query.as_bytes()) {
        match name.as_ref() {
            "status" => filter.state = Some(parse_state(&value)?),
            "client" => filter.client = Some(value.into_owned()),
            "created_after" => filter.created_after = Some(parse_time(&value)?),
            "limit" => limit = parse_limit(&value)?,
            "cursor" => filter.before = Some(parse_cursor(&value)?),
            other => return Err(unknown_parameter(other)),
        }
    }
    Ok((filter, limit))
}

fn parse_state(text: &str) -> Result<TaskState, ApiError> {
    TaskState::parse(text).ok_or_else(|| {
        let known: Vec<&str> = TaskState::ALL.iter().map(|state| state.as_str()).collect();
        ApiError::invalid(
            "status",
            format!("`status` must be one of {}", known.join(", ")),
        )
    })
}

/// RFC 3339, or Unix seconds as in EvoLink's `created`.
fn parse_time(text: &str) -> Result<Timestamp, ApiError> {
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
            ApiError::invalid(
                "created_after",
                "`created_after` must be an RFC 3339 time or Unix seconds",
            )
        })
}

fn parse_limit(text: &str) -> Result<u32, ApiError> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let limit = if digits {
        text.parse().unwrap_or(LIMIT_MAX)
    } else {
        0
    };
    match limit {
        0 => Err(ApiError::invalid(
            "limit",
            "`limit` must be a whole number from 1 to 200",
        )),
        limit => Ok(limit.min(LIMIT_MAX)),
    }
}

fn parse_cursor(text: &str) -> Result<SubmissionId, ApiError> {
    let message = "`cursor` must be the `next` of the page before";
    text.parse()
        .map_err(|_| ApiError::invalid("cursor", message))
}

fn unknown_parameter(name: &str) -> ApiError {
    let name: Cow<'_, str> = name
        .chars()
        .filter(|character| !character.is_control())
        .take(64)
        .collect();
    ApiError::invalid(
        name.clone(),
        format!("unknown parameter `{name}`: want status, client, created_after, limit, cursor"),
    )
}
