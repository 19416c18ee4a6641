//! How callbacks, submits and polls end: the closed sets that their counters are labelled with.

use crate::domain::task::Verdict;

/// How a callback ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CallbackEnd {
    Seen(Verdict),
    Quarantined,
    /// Answered with an error, nothing written.
    Refused,
    /// The client went away before it was answered.
    Aborted,
}

/// How a submit ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SubmitEnd {
    Accepted,
    Refused,
    Unreachable,
    /// Not sent: more than `evolink.submits_per_second`.
    Held,
    /// EvoLink rejects our key.
    KeyRejected,
    /// EvoLink refuses it for our account's sake: no credits (402), or a right that is missing
    /// (403).
    NoCredits,
    Forbidden,
    Unknown,
    Replayed,
    /// Not sent: it repeats one whose answer the app never received.
    Repeated,
    /// Not sent: the app disconnected first.
    Abandoned,
    /// Not sent: the store did not take the intent in time.
    NotRecorded,
    Invalid,
    /// The store is nearly full.
    NoRoom,
}

/// How a poll ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PollEnd {
    Seen,
    Gone,
    Throttled,
    Failed,
}

/// Who has the log read to its end, as it grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TailReader {
    /// Those who wait for news of one task.
    Waits,
    /// Those who follow the log.
    Streams,
}

impl TailReader {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Waits => "waits",
            Self::Streams => "streams",
        }
    }
}

impl CallbackEnd {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Seen(verdict) => verdict.as_str(),
            Self::Quarantined => "quarantined",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
        }
    }
}

impl SubmitEnd {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::Held => "held",
            Self::Unknown => "unknown",
            Self::KeyRejected => "key_rejected",
            Self::NoCredits => "no_credits",
            Self::Forbidden => "forbidden",
            Self::Replayed => "replayed",
            Self::Repeated => "repeated",
            Self::Abandoned => "abandoned",
            Self::NotRecorded => "not_recorded",
            Self::Invalid => "invalid",
            Self::NoRoom => "no_room",
        }
    }
}

impl PollEnd {
    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Seen => "seen",
            Self::Gone => "gone",
            Self::Throttled => "throttled",
            Self::Failed => "failed",
        }
    }
}
