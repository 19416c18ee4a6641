//! The codes of our errors: a closed set, which docs/errors.md explains and the API's description
//! lists. EvoLink's own codes, which are passed on, are not among them.

use serde::Serialize;
use strum::{IntoStaticStr, VariantArray};

/// The `code` of an error. Clients read it, so a code never changes its meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, IntoStaticStr, VariantArray)]
#[serde(rename_all = "snake_case")]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum Code {
    InvalidRequest,
    InvalidTaskId,
    Unauthorized,
    PermissionDenied,
    InvalidLink,
    ModelNotAllowed,
    NotFound,
    MethodNotAllowed,
    TaskNotFound,
    ResultNotFound,
    ArchiveDisabled,
    QuarantineNotFound,
    DeliveryNotFound,
    EndpointNotFound,
    RequestTimeout,
    RequestTooLarge,
    UnsupportedMediaType,
    AlreadyDelivered,
    NotCompleted,
    IdempotencyInFlight,
    IdempotencyConflict,
    StillUnreadable,
    CursorExpired,
    TaskFailed,
    TaskCancelled,
    TaskRejected,
    ArchiveFailed,
    ResultExpired,
    RateLimitExceeded,
    InternalError,
    EvolinkError,
    EvolinkUnreadable,
    EvolinkKeyRejected,
    EvolinkUnreachable,
    SubmitOutcomeUnknown,
    ServiceUnavailable,
    StoreNearlyFull,
    TooManyWaiting,
    NotArchived,
    ArchiveUnavailable,
    RetriedInPart,
}
