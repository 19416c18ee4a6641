//! `POST /v1/tasks/batch`: several tasks at once, in EvoLink's own form.

use std::collections::HashSet;

use axum::body::Body;
use axum::extract::State;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};

use crate::domain::json::Fields;
use crate::http::internal::InternalState;
use crate::http::internal::access::Caller;
use crate::http::internal::error::ApiError;
use crate::http::internal::tasks::parse_name;
use crate::http::serve::body::read_body;

const TASKS_MAX: usize = 50;
const BODY_BYTES_MAX: usize = 64 * 1024;
const BODY_TIME_MAX: std::time::Duration = std::time::Duration::from_secs(10);

#[derive(Deserialize)]
struct Wanted {
    task_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
pub struct Found {
    data: Vec<Fields>,
}

/// Answers with the tasks in the order of their ids. Unknown ones are left out.
pub async fn show(
    State(state): State<InternalState>,
    Extension(caller): Extension<Caller>,
    body: Body,
) -> Result<Json<Found>, ApiError> {
    let budget = &state.body_budget;
    let read = read_body(body, BODY_BYTES_MAX, BODY_TIME_MAX, budget, || Some(())).await;
    let (body, _share) = read.map_err(|error| ApiError::body(error, BODY_BYTES_MAX))?;
    let message = "`task_ids` must be a list of 1 to 50 ids";
    let invalid = || ApiError::invalid("task_ids", message);
    let wanted: Wanted = serde_json::from_slice(&body).map_err(|_| invalid())?;
    if !(1..=TASKS_MAX).contains(&wanted.task_ids.len()) {
        return Err(invalid());
    }
    let names = wanted.task_ids.iter().map(|id| parse_name(id));
    let names: Option<Vec<_>> = names.collect();
    let names = names
        .ok_or_else(|| ApiError::invalid("task_ids", "each id is 1 to 128 of [A-Za-z0-9._-]"))?;
    let mut data = Vec::new();
    let mut seen = HashSet::new();
    let names = wanted.task_ids.iter().zip(names);
    for (_, name) in names.filter(|(id, _)| seen.insert(id.as_str())) {
        let own = caller.sees_only.as_deref();
        if let Some(view) = state.store.find_task_of(&name, own).await? {
            data.push(state.task_objects.of_view(&view));
        }
    }
    Ok(Json(Found { data }))
}
