//! EvoLink's endpoint for querying a task, with the faults that the task's plan asks for.

use std::sync::Arc;

use axum::Json;
use axum::extract::{Path, State};
use axum::response::{Html, IntoResponse, Response};
use http::{HeaderMap, StatusCode};
use serde_json::{Value, json};

use super::error::ApiError;
use super::payload::another_id;
use super::{JUST_A_MOMENT, authorize};
use crate::simulator::now;
use crate::simulator::plan::QueryFault;
use crate::simulator::records::QuerySeen;
use crate::simulator::state::Shared;

pub async fn query(
    State(shared): State<Arc<Shared>>,
    Path(id): Path<String>,
    headers: HeaderMap,
) -> Response {
    let at = now();
    let (fault, answer) = match task_body(&shared, &id, &headers) {
        Ok((fault, body)) => (fault, Ok(body)),
        Err(error) => (None, Err(error)),
    };
    let status = answer
        .as_ref()
        .err()
        .map_or(StatusCode::OK, ApiError::status);
    shared.record_query(QuerySeen {
        at,
        task_id: id,
        status: status.as_u16(),
    });
    match (answer, fault) {
        (Err(error), _) => error.into_response(),
        (Ok(_), Some(QueryFault::Html)) => Html(JUST_A_MOMENT).into_response(),
        (Ok(mut body), Some(QueryFault::WrongId)) => {
            body["id"] = json!(another_id(&body));
            Json(body).into_response()
        }
        (Ok(body), Some(QueryFault::Stall(duration))) => {
            tokio::time::sleep(duration).await;
            Json(body).into_response()
        }
        (Ok(body), Some(QueryFault::Status(_)) | None) => Json(body).into_response(),
    }
}

/// Returns the correct body for a query, and the fault with which it must be sent.
fn task_body(
    shared: &Shared,
    id: &str,
    headers: &HeaderMap,
) -> Result<(Option<QueryFault>, Value), ApiError> {
    authorize(shared, headers)?;
    if !id.starts_with("task-unified-") {
        return Err(ApiError::invalid_task_id());
    }
    shared
        .with_task(id, |task| {
            task.queries += 1;
            match task.query_fault() {
                Some(QueryFault::Status(status)) => {
                    Err(ApiError::of_query(status).with_integer_code(task.plan.integer_codes))
                }
                fault => Ok((fault, task.body(&shared.public_url))),
            }
        })
        .unwrap_or_else(|| Err(ApiError::of_query(404)))
}
