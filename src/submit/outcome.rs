//! How a submit ends, for the app and for the metrics.

use crate::domain::ids::SubmissionId;
use crate::domain::json::Fields;
use crate::domain::key_use::LimitReached;
use crate::evolink::Answer;
use crate::observe::metrics::SubmitEnd;
use crate::store::StoreError;

/// The end of a submit. The comment of each says whether something was sent to EvoLink.
#[derive(Debug)]
pub enum Outcome {
    /// Sent, and accepted.
    Accepted(Accepted),
    /// Sent, and refused: EvoLink's answer.
    Refused {
        answer: Box<Answer>,
        submission_id: SubmissionId,
    },
    /// Sent, and refused because of the receiver's own key.
    KeyRejected {
        rejection: KeyRejection,
        submission_id: SubmissionId,
    },
    /// Sent, perhaps accepted, and never sent again.
    Unknown {
        submission_id: SubmissionId,
        /// The submit of an earlier request, if this one was not sent for that reason.
        earlier: Option<Earlier>,
    },
    /// Not sent: no connection was made.
    Unreachable(SubmissionId),
    /// Not sent: the `Idempotency-Key` belongs to another request.
    KeyReused,
    /// Not sent: the first request with this `Idempotency-Key` has no answer yet.
    KeyInFlight,
    /// Not sent: more submits than `evolink.submits_per_second`.
    RateLimited,
    /// Not sent: the API key has used up one of its limits.
    LimitReached(LimitReached),
    /// Not sent: the app disconnected first.
    Abandoned,
    /// Not sent: the store did not record the intent in time, or could not be read.
    NotRecorded(StoreError),
    /// Not sent: the process is stopping, or equal submits kept changing.
    NotDecided,
}

/// A submit that EvoLink accepted, now or when it was first made.
#[derive(Debug)]
pub struct Accepted {
    pub task: Fields,
    pub submission_id: SubmissionId,
    /// The submit of an earlier request, if this one was not sent for that reason.
    pub earlier: Option<Earlier>,
}

/// Why a submit is answered like an earlier one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Earlier {
    /// It has the same `Idempotency-Key`.
    SameKey,
    /// It is equal, and the app never received its answer.
    Unanswered,
}

/// A rejection of the receiver's own key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyRejection {
    /// False if something in front of EvoLink answered.
    pub is_by_evolink: bool,
    /// Where the key was configured.
    pub key_source: &'static str,
}

impl Outcome {
    pub const fn accepted(
        submission_id: SubmissionId,
        task: Fields,
        earlier: Option<Earlier>,
    ) -> Self {
        Self::Accepted(Accepted {
            task,
            submission_id,
            earlier,
        })
    }

    /// Returns the value of `submits_total{result}`.
    pub const fn end(&self) -> SubmitEnd {
        match self {
            Self::Accepted(Accepted { earlier, .. }) => match earlier {
                None => SubmitEnd::Accepted,
                Some(Earlier::SameKey) => SubmitEnd::Replayed,
                Some(Earlier::Unanswered) => SubmitEnd::Repeated,
            },
            Self::Refused { answer, .. } => match answer.status {
                402 => SubmitEnd::NoCredits,
                403 => SubmitEnd::Forbidden,
                _ => SubmitEnd::Refused,
            },
            Self::KeyRejected { .. } => SubmitEnd::KeyRejected,
            Self::Unknown { earlier, .. } => match earlier {
                None => SubmitEnd::Unknown,
                Some(Earlier::SameKey) => SubmitEnd::Replayed,
                Some(Earlier::Unanswered) => SubmitEnd::Repeated,
            },
            Self::Unreachable(_) => SubmitEnd::Unreachable,
            Self::KeyReused => SubmitEnd::Conflict,
            Self::KeyInFlight => SubmitEnd::InFlight,
            Self::RateLimited => SubmitEnd::Held,
            Self::LimitReached(_) => SubmitEnd::OverLimit,
            Self::Abandoned => SubmitEnd::Abandoned,
            Self::NotRecorded(_) => SubmitEnd::NotRecorded,
            Self::NotDecided => SubmitEnd::NotDecided,
        }
    }
}

impl KeyRejection {
    /// The code of the error for the app.
    pub const CODE: &'static str = "evolink_key_rejected";

    /// Returns the message for the app. It does not say that the app's own key is wrong.
    pub fn message(self) -> String {
        let source = self.key_source;
        if self.is_by_evolink {
            format!(
                "EvoLink rejects the API key of this receiver (`{source}`); nothing was accepted or charged"
            )
        } else {
            "something in front of EvoLink answered 401 to this receiver; nothing was accepted or charged".to_owned()
        }
    }
}

impl From<StoreError> for Outcome {
    fn from(error: StoreError) -> Self {
        Self::NotRecorded(error)
    }
}
