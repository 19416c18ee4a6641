//! Errors about positions in the event log.

use http::StatusCode;

use super::{ApiError, Code};
use crate::domain::event::id::EventId;

impl ApiError {
    /// 410: events after the reader's position are gone, or this log cannot serve them. Continuing
    /// from that position would skip them silently. The reader can continue after `resume_after`.
    pub fn cursor_expired(param: &'static str, why: &str, resume_after: EventId) -> Self {
        let message = format!(
            "{why}; continue with `after={resume_after}` to get every event that is in the log"
        );
        let mut error = Self::new(
            StatusCode::GONE,
            Code::CursorExpired,
            "invalid_request_error",
            message,
        );
        error.body.error.param = Some(param.to_owned());
        error.body.error.resume_after = Some(resume_after);
        error
    }
}
