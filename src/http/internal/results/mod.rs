//! `GET /v1/tasks/{id}/results/{n}`: one result file. The URL is valid from the submit on. The
//! request may wait until the task is completed. A file that is not archived yet is fetched
//! at once.

mod file;
pub mod link;

use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::response::Response;
use futures_util::StreamExt as _;
use http::{HeaderMap, Method, header};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::InternalState;
use super::access::Caller;
use super::access::wait_permits::WaitPermit;
use super::error::{ApiError, Code};
use super::query;
use super::tasks::{self, waiting};
use crate::archive::Fetches;
use crate::archive::fetch::{Following, Head};
use crate::archive::storage::Storage;
use crate::background::Background;
use crate::domain::callback::KeyRing;
use crate::domain::observation::Observation;
use crate::domain::result_file::{FILES_PER_TASK, FileId, FileState};
use crate::domain::task::State as TaskState;
use crate::store::read::{TaskName, TaskView};
use crate::store::results::ShownFile;
use crate::store::wake::POLL_INTERVAL;

/// The dependencies of the routes for result files.
#[derive(Clone, Debug)]
pub struct ArchiveAccess {
    pub storage: Storage,
    pub fetches: Fetches,
    /// Where files are hashed.
    pub background: Background,
    /// Signs links.
    pub key_ring: Arc<KeyRing>,
    /// The URL by which apps reach this listener.
    pub base_url: Arc<str>,
    pub link_lifetime: Duration,
    /// `archive.min_free`, in bytes.
    pub min_free: u64,
    /// Whether files in a bucket are answered with a redirect.
    pub redirects: bool,
}

/// How long a request waits for the fetch of a file, even if it does not ask to wait.
const FETCH_WAIT: Duration = Duration::from_secs(50);

const PARAMETERS: &str = "wait, expires, signature";

/// Answers with a result file.
pub async fn show(
    State(state): State<InternalState>,
    Extension(caller): Extension<Caller>,
    path: Result<Path<(String, String)>, PathRejection>,
    method: Method,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Result<Response, ApiError> {
    let start = Instant::now();
    let archive = state
        .archive
        .clone()
        .ok_or_else(ApiError::archive_disabled)?;
    let Path((id, number)) = path.map_err(|_| ApiError::invalid_task_id())?;
    let number = parse_number(&number)?;
    let wait = parse_query(query.as_deref().unwrap_or_default())?;
    let deadline = start + wait;
    let view = tasks::find(&state, &caller, Some(Path(id))).await?;
    let view = completed(&state, &caller, view, deadline).await?;
    let is_head = method == Method::HEAD;
    // A file that is still arriving has no ETag, so a client could not combine parts of it safely.
    let may_follow = !is_head && !headers.contains_key(header::RANGE);
    let deadline = deadline.max(start + FETCH_WAIT);
    let ready = ready(
        &state, &archive, &caller, view, number, may_follow, deadline,
    );
    let ready = ready.await?;
    // A download may take as long as a wait.
    let permit = state.wait_permits.take(&caller)?;
    let response = match ready {
        Ready::Archived(view, file) => {
            file::answer(&state, &archive, &view, &file, &headers, is_head).await?
        }
        Ready::Arriving(view, file, following, head) => {
            file::answer_while_it_arrives(&view, &file, &following, head)
        }
    };
    Ok(holding(permit, response))
}

/// Keeps the permit until the body was sent, or the client has left.
fn holding(permit: WaitPermit, response: Response) -> Response {
    response.map(|body| {
        let chunks = body.into_data_stream();
        Body::from_stream(chunks.inspect(move |_| {
            let _held = &permit;
        }))
    })
}

/// A file that can be sent to the client.
enum Ready {
    Archived(Box<TaskView>, ShownFile),
    /// It is being fetched by this process.
    Arriving(Box<TaskView>, ShownFile, Following, Head),
}

/// Waits until the file is archived or arrives, or until it is clear that it will not be archived.
async fn ready(
    state: &InternalState,
    archive: &ArchiveAccess,
    caller: &Caller,
    view: TaskView,
    number: i64,
    may_follow: bool,
    deadline: Instant,
) -> Result<Ready, ApiError> {
    let file = file_of(&view, number)?;
    if file.state != FileState::Pending {
        return kept(view, file);
    }
    let (permit, file_id) = (state.wait_permits.take(caller)?, file.id);
    let id = view.record.task.submission_id;
    // Subscribe before the first query, so that no change after it is missed.
    let mut watch = state.store.tail().watch_task(id);
    let mut begun = archive.fetches.begun();
    archive.fetches.want(file.id);
    let name = TaskName::Submission(id);
    drop((view, file));
    loop {
        let view = permit.query(Box::pin(state.store.find_task(&name))).await?;
        let view = view.ok_or_else(ApiError::task_not_found)?;
        let file = file_of(&view, number)?;
        if file.state != FileState::Pending {
            return kept(view, file);
        }
        if let Some(following) = archive.fetches.follow(file.id).filter(|_| may_follow)
            && let Ok(Ok(head)) = timeout_at(deadline, following.head()).await
        {
            return Ok(Ready::Arriving(Box::new(view), file, following, head));
        }
        if Instant::now() >= deadline || state.stopping.is_cancelled() {
            return Err(ApiError::not_archived(file.error.as_deref()));
        }
        drop((view, file));
        // Poll as well: another process may fetch the file, and only the last file of a task causes
        // an event.
        let next = deadline.min(Instant::now() + POLL_INTERVAL);
        tokio::select! {
            () = watch.news() => {}
            () = fetch_of(archive, file_id, &mut begun), if may_follow => {}
            () = sleep_until(next) => {}
            () = state.stopping.cancelled() => {}
        }
    }
}

/// Waits until the fetch of this file begins. Every fetch wakes it, but only this one ends it.
async fn fetch_of(archive: &ArchiveAccess, id: FileId, begun: &mut watch::Receiver<()>) {
    while begun.changed().await.is_ok() {
        if archive.fetches.follow(id).is_some() {
            return;
        }
    }
}

/// Waits until the task is completed.
async fn completed(
    state: &InternalState,
    caller: &Caller,
    mut view: TaskView,
    deadline: Instant,
) -> Result<TaskView, ApiError> {
    if !view.record.task.state().is_finished() && Instant::now() < deadline {
        let permit = state.wait_permits.take(caller)?;
        let (id, goal) = (view.record.task.submission_id, waiting::Goal::Finished);
        drop(view);
        let found = waiting::until_over(state, permit, id, goal, deadline).await?;
        view = found.ok_or_else(ApiError::task_not_found)?;
    }
    match view.record.task.state() {
        TaskState::Completed => Ok(view),
        TaskState::Failed => Err(ended_without_results(&view, Code::TaskFailed)),
        TaskState::Cancelled => Err(ended_without_results(&view, Code::TaskCancelled)),
        TaskState::Rejected => Err(ended_without_results(&view, Code::TaskRejected)),
        TaskState::Submitting
        | TaskState::SubmitUnknown
        | TaskState::Pending
        | TaskState::Processing
        | TaskState::Unresolved => Err(ApiError::not_completed()),
    }
}

fn ended_without_results(view: &TaskView, code: Code) -> ApiError {
    let seen = view.body.as_ref();
    let seen = seen.and_then(|body| Observation::parse(body.clone()).ok());
    let message = seen.and_then(|seen| seen.error_message());
    let message = message.unwrap_or_else(|| "the task ended without results".to_owned());
    ApiError::no_result(code, message)
}

fn file_of(view: &TaskView, number: i64) -> Result<ShownFile, ApiError> {
    let mut files = view.files.iter();
    let file = files.find(|file| file.id.number() == number);
    file.cloned().ok_or_else(|| {
        ApiError::result_not_found(if view.files.is_empty() {
            "the task has no files that were archived"
        } else {
            "the task has fewer results"
        })
    })
}

/// Returns the file if it is archived.
fn kept(view: TaskView, file: ShownFile) -> Result<Ready, ApiError> {
    match file.state {
        FileState::Archived => Ok(Ready::Archived(Box::new(view), file)),
        FileState::Expired => Err(ApiError::result_gone(
            Code::ResultExpired,
            "the file was kept for retention.results, and is deleted",
        )),
        FileState::Failed => Err(given_up(&file.error.unwrap_or_default())),
        FileState::Pending => Err(ApiError::not_archived(file.error.as_deref())),
    }
}

fn given_up(reason: &str) -> ApiError {
    let message = format!("the file could not be archived: {reason}");
    ApiError::result_gone(Code::ArchiveFailed, message)
}

pub fn parse_number(text: &str) -> Result<i64, ApiError> {
    let is_ours = text == "0" || query::parse_number(text).is_some();
    let number = text.parse().ok().filter(|_| is_ours);
    let number = number.filter(|number| (0..FILES_PER_TASK).contains(number));
    number.ok_or_else(ApiError::invalid_result_number)
}

/// Returns how long the request wants to wait. The parameters of a link were checked before.
fn parse_query(query: &str) -> Result<Duration, ApiError> {
    let mut wait = Duration::ZERO;
    for (name, value) in query::parameters(query, &[])? {
        match name.as_ref() {
            "wait" => wait = waiting::parse_seconds(&value)?,
            "expires" | "signature" => {}
            other => return Err(query::unknown_parameter(other, PARAMETERS)),
        }
    }
    Ok(wait)
}
