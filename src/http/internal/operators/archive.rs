//! The archive, for operators: has failed files fetched again, and verifies archived ones.

use std::time::Duration;

use axum::Json;
use axum::extract::{RawQuery, State};
use futures_util::StreamExt as _;
use serde::Serialize;
use tokio::time::Instant;
use tracing::{info, warn};

use crate::archive::storage::{Storage, StorageError};
use crate::archive::{Digest, Hasher};
use crate::domain::ids::SubmissionId;
use crate::domain::result_file::{FileId, FileState};
use crate::http::internal::InternalState;
use crate::http::internal::error::ApiError;
use crate::http::internal::results::ArchiveAccess;
use crate::http::internal::{query, tasks};
use crate::store::recorder::entry::RetriedFiles;
use crate::store::results::CHANGED_AT_ONCE_MAX;

/// The limits of one retry, in transactions, and of one page of verified files. So each request is
/// answered in time, and the caller asks for the next page.
const RETRY_BATCHES_MAX: u32 = 10;
const VERIFIED_FILES_MAX: u32 = 200;
const VERIFIED_BYTES_MAX: u64 = 512 * 1024 * 1024;
const VERIFY_TIME_MAX: Duration = Duration::from_secs(20);

/// The result of a retry.
#[derive(Debug, Serialize)]
pub struct Retried {
    retried: u32,
    /// More failed files are left: send the request again.
    more: bool,
}

/// A page of verified files.
#[derive(Debug, Default, Serialize)]
#[expect(clippy::struct_field_names, reason = "the names of the answer")]
pub struct Verified {
    verified: u32,
    bytes: u64,
    damaged: Vec<Damaged>,
    /// The `cursor` of the next page.
    next: Option<String>,
}

/// A file whose copy is missing or damaged.
#[derive(Debug, Serialize)]
pub struct Damaged {
    submission_id: SubmissionId,
    result: i64,
    sha256: String,
    reason: &'static str,
    /// Whether EvoLink still offers the file.
    is_fetched_again: bool,
}

/// Has failed files fetched again: those of one task, or the oldest.
pub async fn retry(
    State(state): State<InternalState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Retried>, ApiError> {
    if state.archive.is_none() {
        return Err(ApiError::archive_disabled());
    }
    let task = parse_task(query.as_deref().unwrap_or_default())?;
    let mut all = Retried {
        retried: 0,
        more: false,
    };
    if let Some(task) = task {
        let view = state.store.find_task(&task).await?;
        let view = view.ok_or_else(ApiError::task_not_found)?;
        let task_seq = view.record.seq.ok_or_else(ApiError::task_not_found)?;
        let files = RetriedFiles::OfTask { task_seq };
        all.retried = state.recorder.retry_files(files).await?.files;
    } else {
        for _ in 0..RETRY_BATCHES_MAX {
            let limit = CHANGED_AT_ONCE_MAX;
            let batch = state
                .recorder
                .retry_files(RetriedFiles::Failed { limit })
                .await?;
            (all.retried, all.more) = (all.retried + batch.files, batch.more);
            if !batch.more {
                break;
            }
        }
    }
    let retried = all.retried;
    info!(
        retried,
        "{retried} failed result files are to be fetched again"
    );
    Ok(Json(all))
}

/// Hashes archived copies again, and records which are missing or damaged.
pub async fn verify(
    State(state): State<InternalState>,
    RawQuery(query): RawQuery,
) -> Result<Json<Verified>, ApiError> {
    let archive = state
        .archive
        .clone()
        .ok_or_else(ApiError::archive_disabled)?;
    let after = parse_cursor(query.as_deref().unwrap_or_default())?;
    let start = Instant::now();
    let files = state
        .store
        .list_archived_files(after, VERIFIED_FILES_MAX)
        .await?;
    let is_last_page = files.len() < VERIFIED_FILES_MAX as usize;
    let mut page = Verified::default();
    let mut last = after;
    let mut is_cut = false;
    for view in &files {
        if page.bytes >= VERIFIED_BYTES_MAX || start.elapsed() >= VERIFY_TIME_MAX {
            is_cut = true;
            break;
        }
        last = view.file.id;
        let Some(copy) = view.file.copy() else {
            continue;
        };
        page.verified += 1;
        page.bytes += copy.bytes;
        if let Some(reason) = fault(&archive, &copy.sha256).await? {
            warn!(submission.id = %view.submission_id, result = last.number(), sha256 = copy.sha256, "an archived file is damaged or missing: {reason}");
            let losing = state
                .recorder
                .lose_copy(last, copy.sha256.clone(), reason.to_owned());
            // It may have been noticed by somebody else, or it may have expired.
            let Some(now) = losing.await? else {
                continue;
            };
            page.damaged.push(Damaged {
                is_fetched_again: now == FileState::Pending,
                submission_id: view.submission_id,
                result: last.number(),
                sha256: copy.sha256.clone(),
                reason,
            });
        }
    }
    page.next = (is_cut || !is_last_page).then(|| last.to_string());
    Ok(Json(page))
}

/// Returns what is wrong with a copy.
async fn fault(archive: &ArchiveAccess, sha256: &str) -> Result<Option<&'static str>, ApiError> {
    let Ok(digest) = sha256.parse::<Digest>() else {
        return Ok(Some("its copy has no usable name"));
    };
    let storage = archive.storage.clone();
    let hashing = archive
        .background
        .run(async move { hash(&storage, digest).await });
    match hashing.await {
        Ok(found) if found == digest => Ok(None),
        Ok(_) => Ok(Some("its copy is damaged")),
        Err(StorageError::NotFound) => Ok(Some("its copy is missing in the archive")),
        // A storage that fails says nothing about the file.
        Err(error) => {
            warn!(error = %error, "could not verify the archive: {error}");
            Err(ApiError::archive_unavailable())
        }
    }
}

async fn hash(storage: &Storage, digest: Digest) -> Result<Digest, StorageError> {
    let mut chunks = storage.read(digest, None).await?.chunks;
    let mut hasher = Hasher::default();
    while let Some(chunk) = chunks.next().await {
        hasher.update(&chunk?);
    }
    Ok(hasher.finish())
}

fn parse_task(query: &str) -> Result<Option<crate::store::read::TaskName>, ApiError> {
    let mut task = None;
    for (name, value) in query::parameters(query, &[])? {
        match name.as_ref() {
            "task" => {
                task = Some(query::task(tasks::parse_name(&value))?);
            }
            other => return Err(query::unknown_parameter(other, "task")),
        }
    }
    Ok(task)
}

fn parse_cursor(query: &str) -> Result<FileId, ApiError> {
    let mut after = FileId(0);
    for (name, value) in query::parameters(query, &[])? {
        match name.as_ref() {
            "cursor" => {
                after = query::cursor(query::parse_number(&value).map(FileId))?;
            }
            other => return Err(query::unknown_parameter(other, "cursor")),
        }
    }
    Ok(after)
}
