//! What is handed to the recorder, and what comes back once it is on the disk.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::domain::callback_token::Subject;
use crate::domain::delivery::{AttemptEnd, DeliveryId, DeliveryState, EndpointKey, Holder};
use crate::domain::ids::SubmissionId;
use crate::domain::observation::{Observation, Source};
use crate::domain::task::Verdict;
use crate::store::repeats::RepeatGuard;

/// One thing to be recorded.
#[derive(Clone, Debug)]
pub enum Entry {
    /// An app wants a generation: recorded before EvoLink is called.
    Intent(Intent),
    /// EvoLink said something about a task.
    Observed {
        subject: Subject,
        observation: Observation,
        source: Source,
        headers: HeaderMap,
    },
    /// EvoLink, or somebody with a valid callback URL, said something that is not a task body.
    Unreadable {
        subject: Subject,
        source: Source,
        body: Bytes,
        reason: String,
        headers: HeaderMap,
    },
    /// What was kept in quarantine under `id` can be read by now.
    FromQuarantine {
        id: i64,
        subject: Subject,
        observation: Observation,
    },
    /// The submit ended without an observation.
    SubmitEnded {
        submission_id: SubmissionId,
        ended: SubmitEnded,
    },
    /// EvoLink is about to be asked about a task that is due; nobody else is to ask before `lease` is over.
    PollBegun {
        submission_id: SubmissionId,
        lease: Duration,
    },
    /// A poll ended without an observation.
    PollEnded {
        submission_id: SubmissionId,
        ended: PollEnded,
    },
    /// The task is older than we are willing to ask about.
    GaveUp { submission_id: SubmissionId },
    /// A delivery that is due is about to be sent by `holder`, and by nobody else before `lease` is over.
    DeliveryClaimed {
        id: DeliveryId,
        holder: Holder,
        lease: Duration,
    },
    /// The `attempt`th attempt of a delivery, the first being 1, ended; or there is to be none. `jitter`: from 0 to 1, by
    /// chance.
    DeliveryEnded {
        id: DeliveryId,
        holder: Holder,
        attempt: u32,
        end: AttemptEnd,
        jitter: f64,
    },
    /// An operator wants one delivery to be sent now.
    DeliveryRetried { id: DeliveryId },
    /// Ends deliveries that a disabled endpoint has held for too long, a bounded number of them.
    HeldExpired { endpoint: EndpointKey },
    /// An operator wants at most `limit` dead deliveries to be sent after all, the oldest first: those to `endpoint`, or all.
    DeliveriesRetried {
        endpoint: Option<EndpointKey>,
        limit: u32,
    },
    /// The answer to a submit without an idempotency key was handed over whole to its app.
    AppAnswered { submission_id: SubmissionId },
    /// The app disconnected before it had the answer, or the answer was that the outcome is
    /// unknown.
    AppLost { submission_id: SubmissionId },
    /// The apps of these submits still wait at this process.
    AppsWait { waiting: Vec<SubmissionId> },
}

#[derive(Clone, Debug)]
pub struct Intent {
    pub submission_id: SubmissionId,
    /// The name of the API key that submits.
    pub client: Option<String>,
    /// The request as it goes to EvoLink, without the callback URL.
    pub request: Bytes,
    /// The app's own address, where the outcome is delivered to.
    pub callback_url: Option<String>,
    pub idempotency: Option<Idempotency>,
    /// For a submit without an idempotency key, unless the repeat guard is turned off.
    pub guard: Option<RepeatGuard>,
}

impl Intent {
    /// The API key's name, empty where no keys are used.
    pub fn client_name(&self) -> &str {
        self.client.as_deref().unwrap_or_default()
    }
}

impl Entry {
    /// Whether it is for the caller alone, so that it is not recorded for one that has left while
    /// it was queued: the caller of an intent will not send, the holder of a claim will not act, an
    /// operator may ask again. What EvoLink said, and how something ended, is recorded for its own
    /// sake.
    pub const fn is_for_caller(&self) -> bool {
        match self {
            Self::Intent(_)
            | Self::FromQuarantine { .. }
            | Self::PollBegun { .. }
            | Self::DeliveryClaimed { .. }
            | Self::DeliveryRetried { .. }
            | Self::DeliveriesRetried { .. } => true,
            Self::Observed { .. }
            | Self::Unreadable { .. }
            | Self::SubmitEnded { .. }
            | Self::PollEnded { .. }
            | Self::GaveUp { .. }
            | Self::DeliveryEnded { .. }
            | Self::AppAnswered { .. }
            | Self::AppLost { .. }
            | Self::AppsWait { .. }
            | Self::HeldExpired { .. } => false,
        }
    }
}

/// An app's `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// API key name, `/`, `Idempotency-Key`.
    pub name: String,
    /// SHA-256 of the request, whatever its key order and spaces.
    pub fingerprint: [u8; 32],
}

#[derive(Clone, Debug)]
pub enum SubmitEnded {
    /// Known not to have been accepted. With EvoLink's answer, if there was one. Frees the idempotency key.
    Refused {
        answer: Option<Bytes>,
        idempotency: Option<Idempotency>,
    },
    /// Accepted and billed, or not: nobody knows.
    Unknown,
}

/// How a submit ended that ended without an answer which names a task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubmitEnd {
    Refused,
    Unknown,
}

impl SubmitEnd {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Refused => "refused",
            Self::Unknown => "unknown",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        [Self::Refused, Self::Unknown]
            .into_iter()
            .find(|end| end.as_str() == text)
    }
}

#[derive(Clone, Copy, Debug)]
pub enum PollEnded {
    /// EvoLink knows no such task.
    Gone,
    /// No usable answer.
    Failed,
    /// EvoLink answers nobody now, and is not to be asked about this task before so long: no poll that counts.
    PutOff(Duration),
}

/// What became of an entry. Whoever holds one may rely on it after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// Of an intent.
    Fresh,
    /// The same request under the same `Idempotency-Key` was recorded before, as this.
    Replay(SubmissionId),
    /// Another request was recorded under the same `Idempotency-Key`.
    Clash,
    /// An equal submit without a key was recorded before, and its app never received the answer.
    /// `is_orphan`: the process that sent it is no more.
    Repeat {
        first: SubmissionId,
        is_orphan: bool,
    },
    /// An equal submit without a key seems to have an app that waits; to be asked again with a
    /// second look.
    Unsure,
    /// Of an observation.
    Seen { verdict: Verdict, restored: bool },
    /// The observation is about another task than its subject's: kept in quarantine.
    Mismatch,
    /// Of a replay: the entry is no longer in quarantine.
    Gone,
    /// Of a refusal: a callback has told of the task before, so it was accepted all the same.
    Known,
    /// Of a poll or a delivery that begins: it is not due, or another replica was quicker.
    NotDue,
    /// Of an attempt: what the delivery is now.
    Delivery(DeliveryState),
    /// Of an attempt: it was told of before, or the delivery is no longer its sender's.
    Stale,
    /// Of a delivery to be sent again: it was delivered.
    Delivered,
    /// Of all that are to be sent again.
    Retried {
        deliveries: u32,
        /// The endpoint was disabled, and is enabled now.
        enabled: bool,
        /// There are dead ones left.
        more: bool,
    },
    /// Of everything else.
    Done,
}
