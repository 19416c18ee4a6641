//! Error responses about result files.

use http::StatusCode;

use super::{ApiError, Code};
use crate::retry_after;

impl ApiError {
    pub fn invalid_result_number() -> Self {
        let message = "`n`, the number of a result, must be from 0 to 63";
        Self::invalid("n", message)
    }

    /// 404: the task has no such file, or its files are not archived.
    pub fn result_not_found(message: &'static str) -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::ResultNotFound,
            "invalid_request_error",
            message,
        )
    }

    /// 409: the task has no results yet.
    pub fn not_completed() -> Self {
        let message = "the task is not completed yet; repeat the request, or add `wait`";
        Self::new(
            StatusCode::CONFLICT,
            Code::NotCompleted,
            "invalid_request_error",
            message,
        )
        .retry_after(retry_after::NOT_COMPLETED)
    }

    /// 410: the task ended without results.
    pub fn no_result(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, code, "task_error", message)
    }

    /// 410: the file was given up, or is not kept any more.
    pub fn result_gone(code: Code, message: impl Into<String>) -> Self {
        Self::new(StatusCode::GONE, code, "invalid_request_error", message)
    }

    /// 503: the file is not archived yet, and could not be fetched in time.
    pub fn not_archived(last_error: Option<&str>) -> Self {
        let message = match last_error {
            None => "the file is being fetched; repeat the request".to_owned(),
            Some(error) => {
                format!("the file could not be fetched yet, and is tried again: {error}")
            }
        };
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::NotArchived,
            "api_error",
            message,
        )
        .retry_after(retry_after::ARCHIVE)
    }

    /// 503: the storage of files does not work.
    pub fn archive_unavailable() -> Self {
        let message = "the archive does not answer; the log of the receiver says why";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::ArchiveUnavailable,
            "api_error",
            message,
        )
        .retry_after(retry_after::ARCHIVE)
    }

    /// 403: a link with a signature that does not fit, or that has expired.
    pub fn invalid_link() -> Self {
        let message = "this link has expired, or was changed; ask for a new one";
        Self::new(
            StatusCode::FORBIDDEN,
            Code::InvalidLink,
            "permission_error",
            message,
        )
    }

    /// 404: the receiver does not archive results.
    pub fn archive_disabled() -> Self {
        let message = "this receiver archives no results: archive.enabled is false";
        Self::new(
            StatusCode::NOT_FOUND,
            Code::ArchiveDisabled,
            "invalid_request_error",
            message,
        )
    }
}
