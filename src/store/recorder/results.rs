//! The results of the recorder's calls.

use crate::domain::delivery::DeliveryState;
use crate::domain::ids::SubmissionId;
use crate::domain::key_use::LimitReached;
use crate::domain::task::Verdict;

/// The result of an intent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Intended {
    /// It was recorded, so the submit may be sent. No other result allows that.
    Fresh,
    /// The same request was recorded before under the same `Idempotency-Key`, as this submission.
    Replay(SubmissionId),
    /// Another request was recorded under the same `Idempotency-Key`.
    Clash,
    /// An equal submit without a key was recorded before, and its app never received the answer.
    Repeat {
        first: SubmissionId,
        /// The process that sent it has ended.
        is_orphan: bool,
    },
    /// An equal submit without a key seems to have an app that is still waiting. Ask again after
    /// watching that submit.
    Unsure,
    /// The API key has used up one of its limits. Nothing was recorded.
    LimitReached(LimitReached),
}

/// The result of an observation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observed {
    /// It was applied, or found to add nothing: `Verdict` says which.
    Applied(Verdict),
    /// It names another task than its subject's, and is in quarantine.
    Mismatch,
}

/// The result of an entry that was replayed from the quarantine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReplayedFromQuarantine {
    Observed(Observed),
    /// It is no longer in quarantine.
    Gone,
}

/// The result of the end of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EndOfSubmit {
    Recorded,
    /// A refusal was reported, but a callback had already named the task, so EvoLink did accept it.
    WasAccepted,
}

/// The result of a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claim {
    /// No other process acts on it until the lease is over.
    Ours,
    /// It is not due, or another process has claimed it.
    NotDue,
}

/// The result of the end of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AttemptRecorded {
    /// The delivery's state after it.
    Now(DeliveryState),
    /// The result was recorded before, or this sender no longer holds the delivery.
    Stale,
}

/// The result of a request to send one delivery again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryOne {
    Due,
    NoSuchDelivery,
    AlreadyDelivered,
}

/// The result of a request to send dead deliveries again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryMany {
    pub deliveries: u32,
    /// Whether the endpoint was disabled and is now enabled.
    pub enabled: bool,
    /// Whether dead deliveries are left.
    pub more: bool,
}

/// The result of a change to several result files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilesChanged {
    pub files: u32,
    /// Whether more such files are left.
    pub more: bool,
}
