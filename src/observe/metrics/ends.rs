//! The outcomes of callbacks, submits and polls: the closed sets of values for the labels of their
//! counters.

use strum::IntoStaticStr;

use crate::domain::task::Verdict;

/// The outcome of a callback.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallbackEnd {
    Seen(Verdict),
    Quarantined,
    /// Answered with an error. Nothing was written.
    Refused,
    /// The client disconnected before it was answered.
    Aborted,
}

/// The outcome of a submit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum SubmitEnd {
    Accepted,
    Refused,
    Unreachable,
    /// Not sent, because of `evolink.submits_per_second`.
    Held,
    /// Not sent: the API key has used up one of its limits.
    OverLimit,
    /// EvoLink rejected our key.
    KeyRejected,
    /// EvoLink refused it because of our account: no credits are left (402), or a right is missing
    /// (403).
    NoCredits,
    Forbidden,
    Unknown,
    Replayed,
    /// Not sent: it repeats a submit whose answer the app never received.
    Repeated,
    /// Not sent: the app disconnected first.
    Abandoned,
    /// Not sent: the store did not record the intent in time.
    NotRecorded,
    /// Not sent: the process is stopping, or equal submits kept changing.
    NotDecided,
    /// Not sent: the `Idempotency-Key` belongs to another request.
    Conflict,
    /// Not sent: the first request with this `Idempotency-Key` has no answer yet.
    InFlight,
    Invalid,
    /// Not read: too many bodies are in memory.
    Overloaded,
    /// The store is nearly full.
    NoRoom,
}

/// The outcome of a poll.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum PollEnd {
    Seen,
    Gone,
    Throttled,
    Failed,
}

/// The end of a fetch of a result file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum FetchResult {
    Archived,
    /// It is tried again.
    Failed,
    /// The URL did not work, and EvoLink named another one.
    FreshUrl,
    GaveUp,
}

/// A reader of the log that continuously reads to its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum TailReader {
    /// Serves the waiters for single tasks.
    Waits,
    /// Serves the subscribers to the event stream.
    Streams,
}

impl CallbackEnd {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Seen(verdict) => verdict.into_str(),
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
        }
    }
}
