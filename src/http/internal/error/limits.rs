//! Error responses about limits: of an API key, and of waiting requests.

use http::StatusCode;

use super::{ApiError, Code};
use crate::retry_after;

impl ApiError {
    /// 401: the API key is one of the configuration, and does not work now.
    pub fn key_not_valid(why: &str) -> Self {
        let mut error = Self::unauthorized();
        error.body.error.message = format!("this API key {why}");
        error
    }

    /// 429 that names the limit of the API key.
    pub(super) fn over_limit(limit: &str, message: String) -> Self {
        let mut error = Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Code::RateLimitExceeded,
            "rate_limit_error",
            message,
        );
        error.body.error.param = Some(limit.to_owned());
        error
    }

    /// 429: as many requests of this API key wait as may.
    pub fn too_many_waiting_of_key(max_waiting: usize) -> Self {
        let message = format!(
            "{max_waiting} queries and streams of this API key wait already, its `max_waiting`; repeat the request without `wait`"
        );
        Self::over_limit("max_waiting", message).retry_after(retry_after::SOON)
    }

    /// 503: all permits for waiting requests are taken. The answer closes the connection, so that a
    /// client that retries does not occupy one.
    pub fn too_many_waiting() -> Self {
        let message = "too many queries and streams are waiting, in all or with this API key; repeat the request without `wait`";
        let mut error = Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::TooManyWaiting,
            "api_error",
            message,
        );
        error.retry_after = Some(retry_after::SOON);
        error.closes = true;
        error
    }
}
