//! Errors that EvoLink, or what is in front of it, answered in another form than its own.

use http::StatusCode;

use super::{ApiError, Code};
use crate::evolink::Answer;
use crate::observe::untrusted::Untrusted;

/// The characters of the answer that the message quotes.
const QUOTED_CHARS_MAX: usize = 200;

impl ApiError {
    /// EvoLink's status, and the beginning of its answer in our form.
    pub fn of_evolink(answer: &Answer) -> Self {
        let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::BAD_GATEWAY);
        let kind = match status {
            StatusCode::TOO_MANY_REQUESTS => "rate_limit_error",
            status if status.is_client_error() => "invalid_request_error",
            _ => "api_error",
        };
        let text = String::from_utf8_lossy(&answer.body);
        let message = match text.trim() {
            "" => format!("EvoLink answered {} without a body", answer.status),
            text => {
                let start = Untrusted::up_to(text, QUOTED_CHARS_MAX);
                format!("EvoLink answered {}: {start}", answer.status)
            }
        };
        Self::new(status, Code::EvolinkError, kind, message)
    }
}
