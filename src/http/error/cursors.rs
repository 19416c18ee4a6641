//! Errors about places in the log.

use http::StatusCode;

use super::ApiError;
use crate::domain::event_id::EventId;

impl ApiError {
    /// Events that the reader has not read lie between its place and `resume_after`, or cannot be told to it at all: going on
    /// from its place would skip some in silence.
    pub fn cursor_expired(param: &'static str, why: &str, resume_after: EventId) -> Self {
        let message =
            format!("{why}; to miss nothing that is here, go on with `after={resume_after}`");
        let mut error = Self::new(
            StatusCode::GONE,
            "cursor_expired",
            "invalid_request_error",
            message,
        );
        error.body.error.param = Some(param.to_owned());
        error.body.error.resume_after = Some(resume_after);
        error
    }
}
