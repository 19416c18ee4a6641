//! Errors about places in the log.

use http::StatusCode;

use super::ApiError;

impl ApiError {
    /// What was asked for is no longer there: to go on with what is would be to skip some in silence.
    pub fn cursor_expired(param: &'static str, oldest: i64) -> Self {
        let message = format!(
            "events before {oldest} are no longer kept: those that you have not read are lost; go on with `after={}`",
            oldest - 1
        );
        let mut error = Self::new(
            StatusCode::GONE,
            "cursor_expired",
            "invalid_request_error",
            message,
        );
        error.body.error.param = Some(param.to_owned());
        error
    }
}
