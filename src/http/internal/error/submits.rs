//! Error responses to submits. Each says whether anything was sent to EvoLink.

use http::StatusCode;

use super::{ApiError, Code};
use crate::domain::egress::Refused;
use crate::domain::ids::SubmissionId;
use crate::domain::key_use::LimitReached;
use crate::observe::untrusted::Untrusted;
use crate::retry_after;
use crate::submit::{Accepted, Outcome};

/// The one mapping of a submit's outcomes to errors.
impl From<Outcome> for ApiError {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::KeyRejected {
                rejection,
                submission_id,
            } => Self::evolink_key_rejected(rejection).about(submission_id),
            Outcome::Unknown {
                submission_id,
                earlier,
            } => {
                let error = Self::submit_outcome_unknown(submission_id);
                match earlier {
                    Some(_) => error.replayed(),
                    None => error,
                }
            }
            Outcome::Unreachable(id) => Self::evolink_unreachable().about(id),
            Outcome::KeyReused => Self::idempotency_conflict(),
            Outcome::KeyInFlight => Self::idempotency_in_flight(),
            Outcome::RateLimited => Self::too_many_submits(),
            Outcome::LimitReached(reached) => Self::limit_reached(&reached),
            Outcome::NotRecorded(error) => Self::from(error),
            // No client reads the answer to an abandoned submit.
            Outcome::Abandoned | Outcome::NotDecided => Self::unavailable(),
            // Not errors: the handler answers with the task, or with EvoLink's answer.
            Outcome::Accepted(Accepted { submission_id, .. })
            | Outcome::Refused { submission_id, .. } => Self::internal().about(submission_id),
        }
    }
}

impl ApiError {
    /// 403: nothing was sent.
    pub fn model_not_allowed(model: &str) -> Self {
        let model = Untrusted(model);
        let message = format!("the model `{model}` is not in evolink.models, so nothing was sent");
        let mut error = Self::new(
            StatusCode::FORBIDDEN,
            Code::ModelNotAllowed,
            "permission_error",
            message,
        );
        error.body.error.param = Some("model".to_owned());
        error
    }

    /// 400: we would not call the address that the app gave as `callback_url`.
    pub fn refused_callback_url(refused: &Refused) -> Self {
        Self::invalid("callback_url", format!("`callback_url`: {refused}"))
    }

    /// 503: no connection to EvoLink was made. Nothing was sent, so nothing is charged.
    pub fn evolink_unreachable() -> Self {
        let message = "EvoLink could not be reached; nothing was sent to it";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::EvolinkUnreachable,
            "api_error",
            message,
        )
        .retry_after(retry_after::SUBMIT)
    }

    /// 429: this process already sends EvoLink as many submits as it may. Nothing was sent or
    /// recorded.
    pub fn too_many_submits() -> Self {
        let message =
            "more submits than `evolink.submits_per_second` allows; nothing was sent to EvoLink";
        Self::new(
            StatusCode::TOO_MANY_REQUESTS,
            Code::RateLimitExceeded,
            "rate_limit_error",
            message,
        )
        .retry_after(retry_after::SUBMIT)
    }

    /// 429: the API key has used up one of its limits. Nothing was sent, recorded or counted.
    pub fn limit_reached(reached: &LimitReached) -> Self {
        let (name, limit) = (reached.limit.name(), reached.limit);
        let message = format!(
            "this API key has used up its `{name}` of {limit}; nothing was sent to EvoLink, and nothing is counted"
        );
        let mut error = Self::over_limit(name, message);
        error.retry_after = Some(retry_after::Seconds::after(reached.retry_after));
        error
    }

    /// 504: EvoLink may have accepted and charged the submit. We do not send it again, and the app
    /// should not either.
    pub fn submit_outcome_unknown(submission_id: SubmissionId) -> Self {
        let message = format!(
            "EvoLink may or may not have accepted this submit; it is not sent again, and must not be repeated blindly. \
             If it was accepted, EvoLink's callback brings the outcome: ask with GET /v1/tasks/{submission_id}"
        );
        let mut error = Self::new(
            StatusCode::GATEWAY_TIMEOUT,
            Code::SubmitOutcomeUnknown,
            "api_error",
            message,
        );
        error.forbids_retry = true;
        error.about(submission_id)
    }

    pub fn idempotency_conflict() -> Self {
        let message = "this Idempotency-Key was used with another body";
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        Self::new(
            status,
            Code::IdempotencyConflict,
            "invalid_request_error",
            message,
        )
    }

    pub fn idempotency_in_flight() -> Self {
        let message = "the first request with this Idempotency-Key is still under way";
        let status = StatusCode::CONFLICT;
        Self::new(
            status,
            Code::IdempotencyInFlight,
            "invalid_request_error",
            message,
        )
        .retry_after(retry_after::SUBMIT)
    }

    /// 503: submits are refused early, so that enough disk space is left to record callbacks.
    pub fn store_nearly_full() -> Self {
        let message = "the receiver's disk is nearly full, and what is left is kept for callbacks; nothing was sent to EvoLink";
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::StoreNearlyFull,
            "api_error",
            message,
        )
        .retry_after(retry_after::SUBMIT)
    }
}
