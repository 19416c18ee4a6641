//! The result files. A file is generated when it is fetched and is valid for a day after its task
//! ended. If the task's plan says so, it is slow, missing, truncated or of the wrong type.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Path, State};
use axum::response::{IntoResponse, Redirect, Response};
use futures_util::{StreamExt, stream};
use http::{StatusCode, header};
use tokio::time::sleep;

use super::{image, sound};
use crate::simulator::api::error::ApiError;
use crate::simulator::api::request::Route;
use crate::simulator::plan::{FileFault, Results};
use crate::simulator::state::Shared;
use crate::simulator::task::Task;

const SLOW_CHUNKS: u32 = 20;
const FLUSH_TIME: Duration = Duration::from_millis(20);

/// Serves `/files/{id}/{name}`, the URL in a task's results.
pub async fn file(
    State(shared): State<Arc<Shared>>,
    Path((id, name)): Path<(String, String)>,
) -> Response {
    shared.remembered().stats.file_fetches += 1;
    let seen = shared.with_task(&id, |task| {
        task.file_fetches += 1;
        (task.clone(), task.file_fault())
    });
    let Some((task, fault)) = seen else {
        return ApiError::not_found().into_response();
    };
    if let Some(FileFault::Redirect) = fault {
        return Redirect::temporary(&format!("{}/storage/{id}/{name}", shared.public_url))
            .into_response();
    }
    serve(&shared, task, &name, fault).await
}

/// Serves `/storage/{id}/{name}`, the target of the `file-redirect` misbehaviour.
pub async fn stored_file(
    State(shared): State<Arc<Shared>>,
    Path((id, name)): Path<(String, String)>,
) -> Response {
    match shared.with_task(&id, |task| task.clone()) {
        Some(task) => serve(&shared, task, &name, None).await,
        None => ApiError::not_found().into_response(),
    }
}

async fn serve(shared: &Shared, task: Task, name: &str, fault: Option<FileFault>) -> Response {
    let is_valid = task.has_first_track
        || task
            .ended
            .is_some_and(|ended| ended.elapsed() <= shared.options.result_ttl);
    let route = task.generation.route;
    let is_known = match task.plan.results {
        Results::OneFile => name == route.file_name(0),
        Results::DataAlone => false,
        Results::Tracks => (0..2).any(|number| name == route.file_name(number)),
    };
    if !is_valid || !is_known || !task.plan.ending.is_charged() {
        return ApiError::not_found().into_response();
    }
    if let Some(FileFault::Status(status)) = fault {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::NOT_FOUND);
        return (status, "<Error><Code>AccessDenied</Code></Error>").into_response();
    }
    let content_type = [(header::CONTENT_TYPE, task.generation.route.content_type())];
    let Some(bytes) = result_of(shared, task).await else {
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let body = match fault {
        Some(FileFault::Slow(duration)) => slow(bytes, duration),
        Some(FileFault::Truncated) => return (content_type, truncated(&bytes)).into_response(),
        Some(FileFault::WrongType) => Body::from("<!DOCTYPE html><html>not an image</html>"),
        Some(FileFault::Status(_) | FileFault::Redirect) | None => Body::from(bytes),
    };
    (content_type, body).into_response()
}

/// One second of a test picture with ten frames.
const VIDEO: &[u8] = include_bytes!("sample.mp4");

async fn result_of(shared: &Shared, task: Task) -> Option<Bytes> {
    match task.generation.route {
        Route::Images => image_of(shared, task).await,
        Route::Videos => Some(Bytes::from_static(VIDEO)),
        Route::Audios => Some(sound::wav(task.seed).into()),
    }
}

/// Encodes on a blocking thread, because a megapixel takes too long for an async one.
async fn image_of(shared: &Shared, task: Task) -> Option<Bytes> {
    let encode = move || {
        let Task {
            generation, seed, ..
        } = task;
        image::webp(
            &generation.prompt,
            seed,
            generation.width,
            generation.height,
        )
    };
    let encoded = shared.workers.spawn_blocking(encode).await;
    encoded.ok()?.ok().map(Bytes::from)
}

fn slow(bytes: Bytes, duration: Duration) -> Body {
    let chunk_bytes = bytes.len().div_ceil(SLOW_CHUNKS as usize).max(1);
    Body::from_stream(stream::unfold(bytes, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        sleep(duration / SLOW_CHUNKS).await;
        let chunk = rest.split_to(chunk_bytes.min(rest.len()));
        Some((Ok::<_, Infallible>(chunk), rest))
    }))
}

/// Announces the full length, sends half of the bytes, and closes the connection.
pub fn truncated(bytes: &Bytes) -> Response {
    let content_length = bytes.len();
    let half = bytes.slice(..content_length / 2);
    let first = stream::iter([Ok(half)]);
    // If the error came at once, the half that is not sent yet, and even the head, would be lost.
    let then = stream::once(async {
        sleep(FLUSH_TIME).await;
        Err(io::Error::from(io::ErrorKind::ConnectionAborted))
    });
    let body = Body::from_stream(first.chain(then));
    ([(header::CONTENT_LENGTH, content_length)], body).into_response()
}
