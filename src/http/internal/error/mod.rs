//! Errors of the internal API. They use EvoLink's error envelope, which clients of its API already
//! parse.

mod code;
mod cursors;
mod evolink;
mod limits;
mod meant_route;
mod operators;
mod results;
mod submits;

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde::Serialize;
use tracing::error;

use crate::domain::event::id::EventId;
use crate::domain::generation::InvalidRequest;
use crate::domain::ids::SubmissionId;
use crate::http::serve::body::BodyError;
use crate::observe::untrusted::Untrusted;
use crate::retry_after;
use crate::store::StoreError;
use crate::submit::KeyRejection;
pub use code::Code;
use meant_route::meant_route;

/// Header with the submission id, on every answer about a submission.
pub static SUBMISSION_ID: HeaderName = HeaderName::from_static("x-submission-id");

/// `false` tells client libraries with built-in retries not to retry. Those of `OpenAI` retry a 5xx
/// twice.
static SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// `true` on an answer to a repeated submit.
pub static IDEMPOTENCY_REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// An error response of the internal API. Internal causes are logged, never returned.
#[derive(Debug)]
pub struct ApiError {
    status: StatusCode,
    /// Boxed because every `Result` contains it and should stay small.
    body: Box<Envelope>,
    retry_after: Option<retry_after::Seconds>,
    /// The connection is closed after this answer.
    closes: bool,
    /// The client must not repeat the request: something may already have been sent to EvoLink, or
    /// a repeat could not succeed.
    forbids_retry: bool,
    /// The answer is the one that an earlier request got.
    is_replay: bool,
}

#[derive(Debug, Serialize)]
struct Envelope {
    error: ErrorBody,
}

#[derive(Debug, Serialize)]
struct ErrorBody {
    code: Code,
    message: String,
    r#type: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    param: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    submission_id: Option<SubmissionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    resume_after: Option<EventId>,
}

impl ApiError {
    fn new(status: StatusCode, code: Code, kind: &'static str, message: impl Into<String>) -> Self {
        let error = ErrorBody {
            code,
            message: message.into(),
            r#type: kind,
            param: None,
            submission_id: None,
            resume_after: None,
        };
        Self {
            status,
            body: Box::new(Envelope { error }),
            retry_after: None,
            closes: false,
            forbids_retry: false,
            is_replay: false,
        }
    }

    const fn retry_after(mut self, seconds: retry_after::Seconds) -> Self {
        self.retry_after = Some(seconds);
        self
    }

    /// What happened, for people.
    pub fn message(&self) -> &str {
        &self.body.error.message
    }

    /// 400 that names the invalid parameter.
    pub fn invalid(param: impl Into<String>, message: impl Into<String>) -> Self {
        let mut error = Self::malformed(message);
        error.body.error.param = Some(param.into());
        error
    }

    /// 400 that no single parameter caused.
    pub fn malformed(message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            Code::InvalidRequest,
            "invalid_request_error",
            message,
        )
    }

    pub fn invalid_task_id() -> Self {
        let message = "a task id is 1 to 128 of [A-Za-z0-9._-]";
        let mut error = Self::new(
            StatusCode::BAD_REQUEST,
            Code::InvalidTaskId,
            "invalid_request_error",
            message,
        );
        error.body.error.param = Some("task_id".to_owned());
        error
    }

    pub fn unauthorized() -> Self {
        let message = "want `Authorization: Bearer KEY` with an API key of this receiver";
        Self::new(
            StatusCode::UNAUTHORIZED,
            Code::Unauthorized,
            "authentication_error",
            message,
        )
    }

    pub fn missing_scope(scope: &'static str) -> Self {
        let message = format!("this API key lacks the scope `{scope}`");
        Self::new(
            StatusCode::FORBIDDEN,
            Code::PermissionDenied,
            "permission_error",
            message,
        )
    }

    pub fn foreign_host() -> Self {
        let message = "without API keys only requests to a loopback host are answered";
        Self::new(
            StatusCode::FORBIDDEN,
            Code::PermissionDenied,
            "permission_error",
            message,
        )
    }

    /// 429: apps make more reads of EvoLink than are passed on.
    pub fn too_many_reads() -> Self {
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Code::RateLimitExceeded,
            "rate_limit_error",
            "too many reads of EvoLink at once; ask again in a moment",
        )
        .retry_after(retry_after::SOON)
    }

    pub fn cross_site() -> Self {
        let message = "a web page of another origin must not change anything here";
        Self::new(
            StatusCode::FORBIDDEN,
            Code::PermissionDenied,
            "permission_error",
            message,
        )
    }

    pub fn task_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::TaskNotFound,
            "invalid_request_error",
            "no such task",
        )
    }

    /// 404 that names the route that was probably meant.
    pub fn no_route(path: &str) -> Self {
        let message = match meant_route(path) {
            Some(meant) => format!("no such route; did you mean {}?", Untrusted(&meant)),
            None => "no such route".to_owned(),
        };
        Self::new(
            StatusCode::NOT_FOUND,
            Code::NotFound,
            "invalid_request_error",
            message,
        )
    }

    pub fn wrong_method() -> Self {
        let message = "this route does not allow this method";
        Self::new(
            StatusCode::METHOD_NOT_ALLOWED,
            Code::MethodNotAllowed,
            "invalid_request_error",
            message,
        )
    }

    pub fn unsupported_media_type(message: &'static str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::UnsupportedMediaType,
            "invalid_request_error",
            message,
        )
    }

    pub fn body(error: BodyError, bytes_max: usize) -> Self {
        let message = match error {
            BodyError::TooLarge => format!("the body is larger than {bytes_max} bytes"),
            BodyError::TooSlow
            | BodyError::NoRoom
            | BodyError::TooManyUnfinished
            | BodyError::Broken => error.to_string(),
        };
        let code = match error {
            BodyError::TooLarge => Code::RequestTooLarge,
            BodyError::TooSlow => Code::RequestTimeout,
            BodyError::NoRoom | BodyError::TooManyUnfinished => return Self::unavailable(),
            BodyError::Broken => Code::InvalidRequest,
        };
        Self::new(error.status(), code, "invalid_request_error", message)
    }

    /// Adds the id of the submission that the error is about, because a record of it exists.
    #[must_use]
    pub fn about(mut self, submission_id: SubmissionId) -> Self {
        self.body.error.submission_id = Some(submission_id);
        self
    }

    /// 502: EvoLink gave no usable answer to a request that has no side effects.
    pub fn evolink_unreadable() -> Self {
        let message = "EvoLink gave no usable answer";
        Self::new(
            StatusCode::BAD_GATEWAY,
            Code::EvolinkUnreadable,
            "api_error",
            message,
        )
    }

    pub fn unavailable() -> Self {
        let message =
            "the store does not answer, or the receiver is stopping; nothing was sent to EvoLink";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::ServiceUnavailable,
            "api_error",
            message,
        )
        .retry_after(retry_after::SOON)
    }

    /// 500: an internal fault. The message does not say what EvoLink was sent, because that is not
    /// known.
    pub fn internal() -> Self {
        let message = "internal error of the receiver; its log has the cause under this request's X-Request-Id";
        let mut error = Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            Code::InternalError,
            "api_error",
            message,
        );
        error.forbids_retry = true;
        error
    }

    /// 502: EvoLink, or a proxy in front of it, rejects the API key of this receiver. The app's own
    /// key is not involved.
    pub fn evolink_key_rejected(rejection: KeyRejection) -> Self {
        let mut error = Self::new(
            StatusCode::BAD_GATEWAY,
            Code::EvolinkKeyRejected,
            "api_error",
            rejection.message(),
        );
        error.forbids_retry = true;
        error
    }

    pub const fn status(&self) -> StatusCode {
        self.status
    }

    /// Whether the request must not be repeated.
    pub const fn forbids_retry(&self) -> bool {
        self.forbids_retry
    }

    /// Marks this error as the answer that an earlier request got.
    #[must_use]
    pub const fn replayed(mut self) -> Self {
        self.is_replay = true;
        self
    }
}

impl From<InvalidRequest> for ApiError {
    fn from(invalid: InvalidRequest) -> Self {
        match invalid.param {
            Some(param) => Self::invalid(param, invalid.message),
            None => Self::malformed(invalid.message),
        }
    }
}

impl From<StoreError> for ApiError {
    fn from(store_error: StoreError) -> Self {
        error!(error = %store_error, "the store failed a request");
        match store_error {
            StoreError::Corrupt { .. } => Self::internal(),
            _ => Self::unavailable(),
        }
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let submission_id = self.body.error.submission_id;
        let mut response = (self.status, Json(self.body)).into_response();
        let headers = response.headers_mut();
        if let Some(seconds) = self.retry_after {
            headers.insert(header::RETRY_AFTER, seconds.into());
        }
        if self.forbids_retry {
            headers.insert(SHOULD_RETRY.clone(), HeaderValue::from_static("false"));
        }
        if self.is_replay {
            headers.insert(
                IDEMPOTENCY_REPLAYED.clone(),
                HeaderValue::from_static("true"),
            );
        }
        if self.closes {
            headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        if self.status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        if let Some(value) = submission_id.and_then(|id| HeaderValue::try_from(id.to_string()).ok())
        {
            headers.insert(SUBMISSION_ID.clone(), value);
        }
        response
    }
}
