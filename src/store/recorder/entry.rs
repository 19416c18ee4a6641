//! Entries for the recorder, and the receipts that it returns once an entry is on the disk.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use crate::domain::callback::Subject;
use crate::domain::delivery::{AttemptEnd, DeliveryId, DeliveryState, EndpointKey, Holder};
use crate::domain::ids::SubmissionId;
use crate::domain::key_use::{KeyLimits, LimitReached};
use crate::domain::kind::Kind;
use crate::domain::observation::{Observation, Source};
use crate::domain::result_file::{FetchOutcome, FileId, FileState};
use crate::domain::task::Verdict;
use crate::domain::timestamp::Timestamp;
use crate::store::repeats::RepeatGuard;
use crate::store::retention::Deletion;

/// One fact to be recorded.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A submit by an app, recorded before EvoLink is called.
    Intent(Intent),
    /// A task body from EvoLink.
    Observed {
        subject: Subject,
        observation: Observation,
        source: Source,
        headers: HeaderMap,
    },
    /// A body that is not a task, from EvoLink or from a caller with a valid callback URL.
    Unreadable {
        subject: Subject,
        source: Source,
        body: Bytes,
        reason: String,
        headers: HeaderMap,
    },
    /// The quarantine entry `id`, which can be read by now.
    FromQuarantine {
        id: i64,
        subject: Subject,
        observation: Observation,
    },
    /// A submit that ended without an observation.
    SubmitEnded {
        submission_id: SubmissionId,
        ended: SubmitEnded,
    },
    /// A poll that is about to be sent for a due task. No other process polls it before `lease` is
    /// over.
    PollBegun {
        submission_id: SubmissionId,
        lease: Duration,
    },
    /// A poll that ended without an observation.
    PollEnded {
        submission_id: SubmissionId,
        ended: PollEnded,
    },
    /// A task that is too old to be polled further.
    GaveUp { submission_id: SubmissionId },
    /// The claim of a due delivery by `holder`. No other process sends it before `lease` is over.
    DeliveryClaimed {
        id: DeliveryId,
        holder: Holder,
        lease: Duration,
    },
    /// The end of attempt number `attempt`, counted from 1, or the decision to make none. `jitter`
    /// is random, from 0 to 1.
    DeliveryEnded {
        id: DeliveryId,
        holder: Holder,
        attempt: u32,
        end: AttemptEnd,
        jitter: f64,
    },
    /// An operator's request to send one delivery now.
    DeliveryRetried { id: DeliveryId },
    /// Ends deliveries that a disabled endpoint has held for too long, up to a fixed number.
    HeldExpired { endpoint: EndpointKey },
    /// An operator's request to retry at most `limit` dead deliveries, the oldest first. Without
    /// `endpoint`, those of all endpoints.
    DeliveriesRetried {
        endpoint: Option<EndpointKey>,
        limit: u32,
    },
    /// A fact about result files.
    File(FileEntry),
    /// A janitor's request to delete old rows.
    Retention(Deletion),
    /// The app received the complete answer to a submit without an idempotency key.
    AppAnswered { submission_id: SubmissionId },
    /// The app disconnected before it had the answer, or the answer said that the outcome is
    /// unknown.
    AppLost { submission_id: SubmissionId },
    /// The apps of these submits are still waiting at this process.
    AppsWait { waiting: Vec<SubmissionId> },
}

#[derive(Clone, Debug)]
pub struct Intent {
    pub submission_id: SubmissionId,
    /// The name of the API key that submits.
    pub client: Option<String>,
    pub kind: Kind,
    pub model: String,
    /// What the app calls the task.
    pub reference: Option<String>,
    /// The request as sent to EvoLink, without the callback URL.
    pub request: Bytes,
    /// The app's own address, to which the outcome is delivered.
    pub callback_url: Option<String>,
    pub idempotency: Option<Idempotency>,
    /// Set for a submit without an idempotency key, unless the repeat guard is off.
    pub guard: Option<RepeatGuard>,
    /// The limits of the API key.
    pub limits: KeyLimits,
}

impl Intent {
    /// Returns the API key's name, or an empty string where no keys are used.
    pub fn client_name(&self) -> &str {
        self.client.as_deref().unwrap_or_default()
    }
}

impl Entry {
    /// Returns whether the entry matters only to its caller. Such an entry is not recorded if the
    /// caller left while it was queued. The caller of an intent will not send, the holder of a
    /// claim will not act, and an operator or a janitor can ask again. What EvoLink said and how something ended
    /// is always recorded.
    pub const fn is_for_caller(&self) -> bool {
        match self {
            Self::Intent(_)
            | Self::FromQuarantine { .. }
            | Self::PollBegun { .. }
            | Self::DeliveryClaimed { .. }
            | Self::DeliveryRetried { .. }
            | Self::DeliveriesRetried { .. }
            | Self::Retention(_)
            | Self::File(FileEntry::Claimed { .. } | FileEntry::Retried(_)) => true,
            Self::Observed { .. }
            | Self::Unreadable { .. }
            | Self::SubmitEnded { .. }
            | Self::PollEnded { .. }
            | Self::GaveUp { .. }
            | Self::DeliveryEnded { .. }
            | Self::File(
                FileEntry::Ended { .. } | FileEntry::Lost { .. } | FileEntry::Expired { .. },
            )
            | Self::AppAnswered { .. }
            | Self::AppLost { .. }
            | Self::AppsWait { .. }
            | Self::HeldExpired { .. } => false,
        }
    }
}

/// A fact about result files.
#[derive(Clone, Debug)]
pub enum FileEntry {
    /// The claim, or its renewal, of a file to be fetched by `holder`.
    Claimed { id: FileId, holder: Holder },
    /// The end of a fetch by `holder`. `jitter` is random, from 0 to 1.
    Ended {
        id: FileId,
        holder: Holder,
        end: FetchOutcome,
        jitter: f64,
    },
    /// The archived copy `sha256` is missing or damaged.
    Lost {
        id: FileId,
        sha256: String,
        reason: String,
    },
    /// An operator's request to fetch failed files again.
    Retried(RetriedFiles),
    /// Ends the retention of files that were archived before `before`, up to a fixed number.
    Expired { before: Timestamp },
}

/// Which failed files are to be fetched again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetriedFiles {
    OfTask {
        task_seq: i64,
    },
    /// The oldest ones.
    Failed {
        limit: u32,
    },
}

/// An app's `Idempotency-Key`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The API key's name, `/`, and the `Idempotency-Key`.
    pub name: String,
    /// SHA-256 of the request, independent of key order and whitespace.
    pub fingerprint: [u8; 32],
}

#[derive(Clone, Debug)]
pub enum SubmitEnded {
    /// EvoLink certainly did not accept it. `answer` is EvoLink's answer, if there was one. Frees
    /// the idempotency key.
    Refused {
        answer: Option<Bytes>,
        idempotency: Option<Idempotency>,
    },
    /// EvoLink may have accepted and billed it.
    Unknown,
}

#[derive(Clone, Copy, Debug)]
pub enum PollEnded {
    /// EvoLink does not know this task.
    Gone,
    /// There was no usable answer.
    Failed,
    /// EvoLink is not answering at present, so the task is not polled for this long. The poll does
    /// not count.
    PutOff(Duration),
}

/// The result of an entry. It is durable: it holds even after a power cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// The intent was recorded.
    Fresh,
    /// The same request under the same `Idempotency-Key` was recorded before, as this submission.
    Replay(SubmissionId),
    /// Another request was recorded under the same `Idempotency-Key`.
    Clash,
    /// An equal submit without a key was recorded before, and its app never received the answer.
    /// `is_orphan`: the process that sent it has ended.
    Repeat {
        first: SubmissionId,
        is_orphan: bool,
    },
    /// An equal submit without a key seems to have an app that is still waiting. Ask again after
    /// watching that submit.
    Unsure,
    /// The API key has used up one of its limits. Nothing was recorded.
    LimitReached(LimitReached),
    /// The observation was applied; `verdict` says how.
    Seen { verdict: Verdict, restored: bool },
    /// The observation names another task than its subject's. It is in quarantine.
    Mismatch,
    /// The entry to be replayed is no longer in quarantine.
    Gone,
    /// A refusal was reported, but a callback had already named the task, so EvoLink did accept it.
    Known,
    /// The poll or delivery is not due, or another replica has claimed it. Or another replica's
    /// janitor deletes.
    NotDue,
    /// The state of the delivery after the attempt.
    Delivery(DeliveryState),
    /// The result of this attempt was recorded before, or this sender no longer holds the delivery.
    Stale,
    /// The delivery that was to be retried is already delivered.
    Delivered,
    /// The result of a bulk retry.
    Retried {
        deliveries: u32,
        /// Whether the endpoint was disabled and is now enabled.
        enabled: bool,
        /// Whether dead deliveries are left.
        more: bool,
    },
    /// The state of the file after the fetch.
    File(FileState),
    /// The result of a change to several files.
    Files { files: u32, more: bool },
    /// The number of old rows that were deleted.
    Deleted { rows: u32 },
    /// The receipt of all other entries.
    Done,
}
