//! The recorder's calls, each with a result of its own. Each returns once the fact is on the disk.

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;

use super::Recorder;
use super::entry::{Entry, FileEntry, Intent, PollEnded, Receipt, RetriedFiles, SubmitEnded};
pub use super::results::{
    AttemptRecorded, Claim, EndOfSubmit, FilesChanged, Intended, Observed, ReplayedFromQuarantine,
    RetryMany, RetryOne,
};
use crate::domain::callback::Subject;
use crate::domain::delivery::{AttemptEnd, DeliveryId, EndpointKey, Holder};
use crate::domain::ids::SubmissionId;
use crate::domain::observation::{Observation, Source};
use crate::domain::result_file::{FetchOutcome, FileId, FileState};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::retention::{Deleted, Deletion};

impl Recorder {
    pub async fn intend(&self, intent: Intent) -> Result<Intended, StoreError> {
        match self.record(Entry::Intent(intent)).await? {
            Receipt::Fresh => Ok(Intended::Fresh),
            Receipt::Replay(first) => Ok(Intended::Replay(first)),
            Receipt::Clash => Ok(Intended::Clash),
            Receipt::Repeat { first, is_orphan } => Ok(Intended::Repeat { first, is_orphan }),
            Receipt::Unsure => Ok(Intended::Unsure),
            Receipt::LimitReached(reached) => Ok(Intended::LimitReached(reached)),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    pub async fn observe(
        &self,
        subject: Subject,
        observation: Observation,
        source: Source,
        headers: HeaderMap,
    ) -> Result<Observed, StoreError> {
        let entry = Entry::Observed {
            subject,
            observation,
            source,
            headers,
        };
        match self.record(entry).await? {
            Receipt::Seen { verdict, .. } => Ok(Observed::Applied(verdict)),
            Receipt::Mismatch => Ok(Observed::Mismatch),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Keeps a body that is not a task. For the answer to a submit, that also records that its
    /// outcome is unknown.
    pub async fn keep_in_quarantine(
        &self,
        subject: Subject,
        source: Source,
        body: Bytes,
        reason: String,
        headers: HeaderMap,
    ) -> Result<(), StoreError> {
        let entry = Entry::Unreadable {
            subject,
            source,
            body,
            reason,
            headers,
        };
        self.done(entry).await
    }

    /// Applies entry `id` of the quarantine, which can be read by now.
    pub async fn replay(
        &self,
        id: i64,
        subject: Subject,
        observation: Observation,
    ) -> Result<ReplayedFromQuarantine, StoreError> {
        let entry = Entry::FromQuarantine {
            id,
            subject,
            observation,
        };
        match self.record(entry).await? {
            Receipt::Seen { verdict, .. } => {
                Ok(ReplayedFromQuarantine::Observed(Observed::Applied(verdict)))
            }
            Receipt::Mismatch => Ok(ReplayedFromQuarantine::Observed(Observed::Mismatch)),
            Receipt::Gone => Ok(ReplayedFromQuarantine::Gone),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Records a submit that ended without an observation.
    pub async fn end_submit(
        &self,
        submission_id: SubmissionId,
        ended: SubmitEnded,
    ) -> Result<EndOfSubmit, StoreError> {
        let entry = Entry::SubmitEnded {
            submission_id,
            ended,
        };
        match self.record(entry).await? {
            Receipt::Done => Ok(EndOfSubmit::Recorded),
            Receipt::Known => Ok(EndOfSubmit::WasAccepted),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Claims the poll of a due task until `lease` is over.
    pub async fn claim_poll(
        &self,
        submission_id: SubmissionId,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        let entry = Entry::PollBegun {
            submission_id,
            lease,
        };
        self.claim(entry).await
    }

    /// Records a poll that ended without an observation.
    pub async fn end_poll(
        &self,
        submission_id: SubmissionId,
        ended: PollEnded,
    ) -> Result<(), StoreError> {
        let entry = Entry::PollEnded {
            submission_id,
            ended,
        };
        self.done(entry).await
    }

    /// Records that a task is too old to be polled further.
    pub async fn give_up(&self, submission_id: SubmissionId) -> Result<(), StoreError> {
        self.done(Entry::GaveUp { submission_id }).await
    }

    /// Claims a due delivery for `holder` until `lease` is over.
    pub async fn claim_delivery(
        &self,
        id: DeliveryId,
        holder: Holder,
        lease: Duration,
    ) -> Result<Claim, StoreError> {
        self.claim(Entry::DeliveryClaimed { id, holder, lease })
            .await
    }

    /// Records the end of attempt number `attempt`, counted from 1, or the decision to make none.
    /// `jitter` is random, from 0 to 1.
    pub async fn end_attempt(
        &self,
        id: DeliveryId,
        holder: Holder,
        attempt: u32,
        end: AttemptEnd,
        jitter: f64,
    ) -> Result<AttemptRecorded, StoreError> {
        let entry = Entry::DeliveryEnded {
            id,
            holder,
            attempt,
            end,
            jitter,
        };
        match self.record(entry).await? {
            Receipt::Delivery(state) => Ok(AttemptRecorded::Now(state)),
            Receipt::Stale => Ok(AttemptRecorded::Stale),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Makes one delivery due, at an operator's request.
    pub async fn retry_delivery(&self, id: DeliveryId) -> Result<RetryOne, StoreError> {
        match self.record(Entry::DeliveryRetried { id }).await? {
            Receipt::Done => Ok(RetryOne::Due),
            Receipt::Gone => Ok(RetryOne::NoSuchDelivery),
            Receipt::Delivered => Ok(RetryOne::AlreadyDelivered),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Makes at most `limit` dead deliveries due, the oldest first. Without `endpoint`, those of
    /// all endpoints.
    pub async fn retry_deliveries(
        &self,
        endpoint: Option<EndpointKey>,
        limit: u32,
    ) -> Result<RetryMany, StoreError> {
        let entry = Entry::DeliveriesRetried { endpoint, limit };
        match self.record(entry).await? {
            Receipt::Retried {
                deliveries,
                enabled,
                more,
            } => Ok(RetryMany {
                deliveries,
                enabled,
                more,
            }),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Ends deliveries that a disabled endpoint has held for too long, up to a fixed number.
    pub async fn expire_held(&self, endpoint: EndpointKey) -> Result<(), StoreError> {
        match self.record(Entry::HeldExpired { endpoint }).await? {
            // `Stale`: the endpoint was enabled meanwhile.
            Receipt::Done | Receipt::Stale => Ok(()),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Claims a file to be fetched by `holder`, or renews its claim.
    pub async fn claim_file(&self, id: FileId, holder: Holder) -> Result<Claim, StoreError> {
        let entry = FileEntry::Claimed { id, holder };
        self.claim(Entry::File(entry)).await
    }

    /// Records the end of a fetch. `jitter` is random, from 0 to 1. Returns the state of the file
    /// after it, or `None` if another process fetches the file, or has fetched it.
    pub async fn end_fetch(
        &self,
        id: FileId,
        holder: Holder,
        end: FetchOutcome,
        jitter: f64,
    ) -> Result<Option<FileState>, StoreError> {
        let entry = FileEntry::Ended {
            id,
            holder,
            end,
            jitter,
        };
        self.change_of_file(entry).await
    }

    async fn change_of_file(&self, entry: FileEntry) -> Result<Option<FileState>, StoreError> {
        match self.record(Entry::File(entry)).await? {
            Receipt::File(state) => Ok(Some(state)),
            Receipt::Stale => Ok(None),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Records that the archived copy `sha256` of a file is missing or damaged. Returns the state
    /// of the file afterwards: `Pending` if it is fetched again, `Archived` if EvoLink does not
    /// offer it any more. `None` if the file has no such copy.
    pub async fn lose_copy(
        &self,
        id: FileId,
        sha256: String,
        reason: String,
    ) -> Result<Option<FileState>, StoreError> {
        let entry = FileEntry::Lost { id, sha256, reason };
        self.change_of_file(entry).await
    }

    /// Makes failed files due again, at an operator's request.
    pub async fn retry_files(&self, files: RetriedFiles) -> Result<FilesChanged, StoreError> {
        self.change_files(FileEntry::Retried(files)).await
    }

    /// Ends the retention of files that were archived before `before`, up to a fixed number.
    pub async fn expire_files(&self, before: Timestamp) -> Result<FilesChanged, StoreError> {
        self.change_files(FileEntry::Expired { before }).await
    }

    async fn change_files(&self, entry: FileEntry) -> Result<FilesChanged, StoreError> {
        match self.record(Entry::File(entry)).await? {
            Receipt::Files { files, more } => Ok(FilesChanged { files, more }),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Deletes old rows. Does nothing if another process's janitor has the lease.
    pub async fn delete_old(&self, deletion: Deletion) -> Result<Deleted, StoreError> {
        match self.record(Entry::Retention(deletion)).await? {
            Receipt::Deleted { rows } => Ok(Deleted::Rows(rows)),
            Receipt::NotDue => Ok(Deleted::NotOurs),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    /// Queues that the app received the complete answer to a submit without an idempotency key.
    pub fn app_answered(&self, submission_id: SubmissionId) {
        self.record_in_background(Entry::AppAnswered { submission_id });
    }

    /// Queues that the app disconnected before it had the answer, or that the answer said that the
    /// outcome is unknown.
    pub fn app_lost(&self, submission_id: SubmissionId) {
        self.record_in_background(Entry::AppLost { submission_id });
    }

    async fn claim(&self, entry: Entry) -> Result<Claim, StoreError> {
        match self.record(entry).await? {
            Receipt::Done => Ok(Claim::Ours),
            Receipt::NotDue => Ok(Claim::NotDue),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }

    async fn done(&self, entry: Entry) -> Result<(), StoreError> {
        match self.record(entry).await? {
            Receipt::Done => Ok(()),
            other => Err(StoreError::OtherReceipt(other)),
        }
    }
}
