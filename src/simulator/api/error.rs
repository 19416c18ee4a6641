//! EvoLink's error envelope, `{"error": {"code", "message", "type" [, "param"]}}`, as documented.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderName, HeaderValue, StatusCode, header};
use serde_json::{Value, json};

use crate::simulator::plan::Refusal;

#[derive(Clone, Debug)]
pub struct ApiError {
    status: StatusCode,
    code: &'static str,
    kind: &'static str,
    message: String,
    param: Option<&'static str>,
    retry_after_s: Option<u32>,
    /// Sends the status as `code`, as EvoLink's older documents show it.
    integer_code: bool,
}

impl ApiError {
    fn new(status: StatusCode, code: &'static str, kind: &'static str, message: &str) -> Self {
        Self {
            status,
            code,
            kind,
            message: message.to_owned(),
            param: None,
            retry_after_s: None,
            integer_code: false,
        }
    }

    pub fn invalid(param: &'static str, message: &str) -> Self {
        let invalid = (
            StatusCode::BAD_REQUEST,
            "invalid_request",
            "invalid_request_error",
        );
        Self {
            param: Some(param),
            ..Self::new(invalid.0, invalid.1, invalid.2, message)
        }
    }

    pub fn unreadable(message: &str) -> Self {
        Self {
            param: None,
            ..Self::invalid("", message)
        }
    }

    pub fn too_large() -> Self {
        let message = "the request body is too large";
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "request_too_large",
            "invalid_request_error",
            message,
        )
    }

    pub fn unauthorized() -> Self {
        Self::new(
            StatusCode::UNAUTHORIZED,
            "unauthorized",
            "authentication_error",
            "Invalid or expired token",
        )
    }

    pub fn insufficient_quota() -> Self {
        Self::refused(Refusal::NoQuota)
    }

    pub fn idempotency_conflict() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            "idempotency_conflict",
            "invalid_request_error",
            "this Idempotency-Key was used with another request",
        )
    }

    pub fn invalid_task_id() -> Self {
        let message = "task_id must start with task-unified-";
        Self {
            code: "invalid_task_id",
            ..Self::invalid("task_id", message)
        }
    }

    pub fn not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            "not_found",
            "invalid_request_error",
            "no such address",
        )
    }

    pub fn refused(refusal: Refusal) -> Self {
        match refusal {
            Refusal::RateLimited { retry_after_s } => Self {
                retry_after_s,
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_exceeded",
                    "rate_limit_error",
                    "Too many requests, please try again later",
                )
            },
            Refusal::NoQuota => Self::new(
                StatusCode::PAYMENT_REQUIRED,
                "insufficient_quota",
                "insufficient_quota_error",
                "Insufficient quota. Please top up your account.",
            ),
            Refusal::NoAccess => Self::new(
                StatusCode::FORBIDDEN,
                "model_access_denied",
                "permission_error",
                "Token does not have access to this model",
            ),
            Refusal::Internal => Self::internal(),
            Refusal::Invalid => Self::unreadable("The request was rejected"),
            Refusal::TooLarge => Self::too_large(),
            Refusal::Unavailable => Self::new(
                StatusCode::SERVICE_UNAVAILABLE,
                "service_unavailable",
                "api_error",
                "Service temporarily unavailable",
            ),
        }
    }

    /// The error that a query gets for a task that exists but must not be shown.
    pub fn of_query(status: u16) -> Self {
        match status {
            403 => Self::new(
                StatusCode::FORBIDDEN,
                "permission_denied",
                "permission_error",
                "You do not have permission to read this task",
            ),
            404 => Self::task_not_found(StatusCode::NOT_FOUND),
            410 => Self::task_not_found(StatusCode::GONE),
            429 => Self {
                retry_after_s: Some(1),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "rate_limit_exceeded",
                    "evo_api_error",
                    "Too many requests, please try again later",
                )
            },
            _ => Self::internal(),
        }
    }

    fn task_not_found(status: StatusCode) -> Self {
        Self::new(
            status,
            "task_not_found",
            "invalid_request_error",
            "Task not found or expired",
        )
    }

    fn internal() -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "internal_error",
            "api_error",
            "Internal server error",
        )
    }

    pub fn with_integer_code(self, integer_code: bool) -> Self {
        Self {
            integer_code,
            ..self
        }
    }

    pub fn status(&self) -> StatusCode {
        self.status
    }

    fn body(&self) -> Value {
        let code = if self.integer_code {
            json!(self.status.as_u16())
        } else {
            json!(self.code)
        };
        let mut error = json!({"code": code, "message": self.message, "type": self.kind});
        if let Some(param) = self.param {
            error["param"] = json!(param);
        }
        json!({ "error": error })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = (self.status, Json(self.body())).into_response();
        if let Some(seconds) = self.retry_after_s {
            let headers = response.headers_mut();
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
