//! Error responses of the routes for operators: quarantine and deliveries.

use http::StatusCode;

use super::{ApiError, Code};
use crate::domain::observation::ObservationError;
use crate::retry_after;

impl ApiError {
    pub fn quarantine_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::QuarantineNotFound,
            "invalid_request_error",
            "no such entry in quarantine; the oldest entries are deleted when it is full",
        )
    }

    /// 422: the current parser cannot read the quarantined body either.
    pub fn still_unreadable(reason: &ObservationError) -> Self {
        let message = format!("the kept body is still not a task: {reason}");
        Self::new(
            StatusCode::UNPROCESSABLE_ENTITY,
            Code::StillUnreadable,
            "invalid_request_error",
            message,
        )
    }

    pub fn delivery_not_found() -> Self {
        Self::new(
            StatusCode::NOT_FOUND,
            Code::DeliveryNotFound,
            "invalid_request_error",
            "no such delivery",
        )
    }

    /// 404: no endpoint of the configuration has this name, and nothing is known of one that had.
    pub fn endpoint_not_found(name: &str) -> Self {
        let name: String = name
            .chars()
            .filter(|character| !character.is_control())
            .take(64)
            .collect();
        let message = format!(
            "no endpoint `{name}`: the configuration has none of this name, and no such delivery is kept"
        );
        let mut error = Self::new(
            StatusCode::NOT_FOUND,
            Code::EndpointNotFound,
            "invalid_request_error",
            message,
        );
        error.body.error.param = Some("endpoint".to_owned());
        error
    }

    pub fn already_delivered() -> Self {
        Self::new(
            StatusCode::CONFLICT,
            Code::AlreadyDelivered,
            "invalid_request_error",
            "the delivery was delivered and is not sent again; read its event in GET /v1/events",
        )
    }

    /// 503: the store failed during a bulk retry, after `retried` deliveries.
    pub fn retried_in_part(retried: u32) -> Self {
        let message =
            format!("{retried} deliveries are pending again; repeat the request for the rest");
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            Code::RetriedInPart,
            "api_error",
            message,
        )
        .retry_after(retry_after::SOON)
    }
}
