//! The page of one task: its files, its story, its deliveries, and its JSON.

mod deliveries;
mod files;
mod timeline;

use askama::Template;
use axum::Extension;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use http::{HeaderMap, Method};

use super::page::{Frame, PageError, Tab, Viewer, html};
use super::tasks::{Card, Live, prompt};
use super::text::{Moment, pretty, web_link};
use crate::domain::ids::TaskId;
use crate::domain::task::Accepted;
use crate::http::internal::InternalState;
use crate::http::internal::access::Caller;
use crate::http::internal::error::ApiError;
use crate::http::internal::{results, tasks};
use crate::store::read::TaskView;
pub use deliveries::ShownDelivery;
use files::ShownResult;
use timeline::Step;

#[derive(Template)]
#[template(path = "task.html")]
struct TaskPage {
    frame: Frame,
    submission_id: String,
    parts: Parts,
    live: Live,
}

/// What changes while the page is open. A script replaces each part that has changed.
#[derive(Template)]
#[template(path = "task_parts.html")]
struct Parts {
    card: Card,
    prompt: String,
    facts: Vec<Fact>,
    files: Vec<ShownResult>,
    /// Why there are no files.
    no_files: &'static str,
    steps: Vec<Step>,
    request: Option<String>,
    json: String,
    /// `None` if the viewer's key lacks the scope `admin`.
    deliveries: Option<Vec<ShownDelivery>>,
    /// Whether something may change without an event.
    is_open: bool,
}

/// A line of the summary.
struct Fact {
    name: &'static str,
    value: String,
    /// Set if the value is a point in time.
    moment: Option<Moment>,
    is_code: bool,
}

pub async fn show(
    State(state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, PageError> {
    viewer.must_read()?;
    let to = |error: PageError| error.to(&viewer);
    // Before the task is read, so that no change in between is missed.
    let live = Live::at_end(&state).await.map_err(to)?;
    let view = tasks::find(&state, &caller, id.ok()).await;
    let view = view.map_err(|error| to(error.into()))?;
    let parts = Parts::of(&state, &viewer, &view).await;
    let parts = parts.map_err(|error| to(error.into()))?;
    let page = TaskPage {
        frame: Frame::new(parts.prompt.clone(), Tab::Tasks, Some(viewer)),
        submission_id: view.record.task.submission_id.to_string(),
        parts,
        live,
    };
    Ok(html(&page))
}

pub async fn fragment(
    State(state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
    Extension(caller): Extension<Caller>,
    id: Result<Path<String>, PathRejection>,
) -> Result<Response, ApiError> {
    if !viewer.may_read {
        return Err(ApiError::missing_scope("read"));
    }
    let view = tasks::find(&state, &caller, id.ok()).await?;
    Ok(html(&Parts::of(&state, &viewer, &view).await?))
}

/// A result file, as the API answers with it, but never with a redirect to a bucket: a page may
/// load only what is of this origin.
pub async fn file(
    State(mut state): State<InternalState>,
    Extension(viewer): Extension<Viewer>,
    caller: Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    method: Method,
    query: RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    if !viewer.may_read {
        return Err(ApiError::missing_scope("read"));
    }
    if let Some(archive) = &mut state.archive {
        archive.redirects = false;
    }
    results::show(State(state), caller, path, method, query, headers).await
}

impl Parts {
    async fn of(state: &InternalState, viewer: &Viewer, view: &TaskView) -> Result<Self, ApiError> {
        let now = state.clock.now();
        let history = state.store.list_history(&view.record).await?;
        let deliveries = if viewer.may_operate {
            Some(deliveries::of_task(state, view, now).await?)
        } else {
            None
        };
        let files = files::of_task(view);
        let is_waited_for = |delivery: &ShownDelivery| delivery.state == "pending";
        let pending_file = files.iter().any(ShownResult::is_pending);
        let json = serde_json::to_vec(&state.task_objects.of_view(view));
        Ok(Self {
            card: Card::new(view, now),
            prompt: prompt(view),
            facts: facts(view, now),
            no_files: files::why_none(state, view),
            is_open: pending_file
                || !view.record.task.state().is_finished()
                || deliveries.iter().flatten().any(is_waited_for),
            files,
            steps: timeline::of(&history, view, now),
            request: view.record.request.as_deref().map(pretty),
            json: json.map(|json| pretty(&json)).unwrap_or_default(),
            deliveries,
        })
    }
}

fn facts(view: &TaskView, now: crate::domain::timestamp::Timestamp) -> Vec<Fact> {
    let (record, task) = (&view.record, &view.record.task);
    let text = |name, value: Option<&str>| {
        value.map(|value| Fact {
            name,
            value: value.to_owned(),
            moment: None,
            is_code: false,
        })
    };
    let code = |name, value: Option<String>| {
        value.map(|value| Fact {
            name,
            value,
            moment: None,
            is_code: true,
        })
    };
    let moment = |name, at: Option<_>| {
        at.map(|at| Fact {
            name,
            value: String::new(),
            moment: Some(Moment::new(at, now)),
            is_code: false,
        })
    };
    let outcome_at = task.accepted().and_then(Accepted::outcome_at);
    let next_poll = task.polling.next_at.filter(|_| !task.state().is_finished());
    let claim = task.claim().map(|claim| <&str>::from(claim.state));
    [
        text("Model", record.model.as_deref()),
        text("Client", record.client.as_deref()),
        text("Reference", record.reference.as_deref()),
        moment("Submitted", Some(task.submitted_at)),
        moment("Outcome", outcome_at),
        moment("Next poll", next_poll),
        text("Reported, not confirmed", claim),
        code("Task id", task.task_id().map(TaskId::to_string)),
        code("Submission id", Some(task.submission_id.to_string())),
    ]
    .into_iter()
    .flatten()
    .collect()
}
