//! The history of a task, as an answer.

use std::{io, iter};

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::CONTENT_TYPE;

use crate::domain::callback::Subject;
use crate::http::internal::InternalState;
use crate::http::internal::access::Caller;
use crate::http::internal::error::ApiError;
use crate::http::internal::tasks;
use crate::store::read::history::HistoryKind;
use crate::task_object::history::{History, HistoryObject};

/// Streams the items one by one, because all of them together may be large.
pub async fn show(
    State(state): State<InternalState>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    let view = tasks::find(&state, &caller, id.ok()).await?;
    let mut items = state.store.list_history(&view.record).await?;
    if caller.sees_only.is_some() {
        // A body that names this task may have come through the callback URL of another one.
        let own = Subject::Submission(view.record.task.submission_id);
        items.retain(
            |item| !matches!(&item.kind, HistoryKind::Quarantined(entry) if entry.subject != own),
        );
    }
    let history = History::new(state.task_objects, view, &items);
    let separators = iter::once("").chain(iter::repeat(","));
    let data = items.into_iter().zip(separators);
    let data = data.map(move |(item, separator)| Ok(line(separator, &history.shown(&item))?));
    let begin = iter::once(Ok(Bytes::from_static(br#"{"data":["#)));
    let end = iter::once(Ok::<_, io::Error>(Bytes::from_static(br#"],"next":null}"#)));
    let body = Body::from_stream(stream::iter(begin.chain(data).chain(end)));
    Ok(([(CONTENT_TYPE, "application/json")], body).into_response())
}

fn line(separator: &str, item: &HistoryObject) -> serde_json::Result<Bytes> {
    let mut line = separator.as_bytes().to_vec();
    serde_json::to_writer(&mut line, item)?;
    Ok(line.into())
}
