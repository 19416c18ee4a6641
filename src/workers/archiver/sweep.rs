//! The periodic work of the archiver: counts files, ends retentions, and deletes drafts and copies
//! that no file needs.

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::Instant;
use tracing::{info, warn};

use super::Archiver;
use crate::archive::Digest;
use crate::archive::storage::StorageError;
use crate::domain::result_file::FileState;
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;

const COUNT_INTERVAL: Duration = Duration::from_secs(10);

/// A first sweep soon after the start deletes what a killed process left.
const FIRST_SWEEP_AFTER: Duration = Duration::from_secs(10);
const SWEEP_INTERVAL: Duration = Duration::from_hours(1);

/// The age from which a copy that no file needs is deleted, and a draft that was not finished. It
/// is longer than any fetch takes.
const SWEPT_AFTER: Duration = Duration::from_hours(2);

/// Why the copy of an archived file is missing after a sweep.
pub(super) const COPY_DELETED: &str = "its copy was deleted";

/// How many transactions end retentions in one sweep.
const EXPIRY_BATCHES_MAX: u32 = 1000;

/// The work that is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Work {
    Count,
    Sweep,
}

/// The times of the next count and of the next sweep.
#[derive(Debug)]
pub(super) struct Upkeep {
    count_at: Instant,
    sweep_at: Instant,
}

impl Default for Upkeep {
    fn default() -> Self {
        let now = Instant::now();
        Self {
            count_at: now,
            sweep_at: now + FIRST_SWEEP_AFTER,
        }
    }
}

impl Upkeep {
    pub fn due(&mut self) -> Option<Work> {
        let now = Instant::now();
        if now >= self.sweep_at {
            self.sweep_at = now + SWEEP_INTERVAL;
            return Some(Work::Sweep);
        }
        if now >= self.count_at {
            self.count_at = now + COUNT_INTERVAL;
            return Some(Work::Count);
        }
        None
    }
}

/// Why a sweep was cut short.
#[derive(Debug, thiserror::Error)]
enum SweepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Storage(#[from] StorageError),
}

impl Archiver {
    pub(super) async fn keep_up(&self, work: Work) {
        let done = match work {
            Work::Count => self.count().await.map_err(SweepError::from),
            Work::Sweep => self.sweep().await,
        };
        if let Err(error) = done {
            warn!(error = %error, "could not count or sweep archived files; trying again later: {error}");
        }
    }

    async fn count(&self) -> Result<(), StoreError> {
        for state in [FileState::Pending, FileState::Failed] {
            let files = self.dependencies.store.count_files(state).await?;
            self.dependencies.metrics.files_counted(state, files);
        }
        Ok(())
    }

    async fn sweep(&self) -> Result<(), SweepError> {
        let now = self.dependencies.clock.now();
        let mut expired = 0;
        for _ in 0..EXPIRY_BATCHES_MAX {
            let before = now.before(self.dependencies.retention);
            let changed = self.dependencies.recorder.expire_files(before).await?;
            expired += changed.files;
            if !changed.more {
                break;
            }
        }
        // The storage may be another machine, with a clock of its own.
        let before = self.dependencies.storage.now().await?.before(SWEPT_AFTER);
        let drafts = self.dependencies.storage.sweep(before).await?;
        let mut copies = 0;
        let mut listed = self.dependencies.storage.list();
        while let Some(entry) = listed.next().await {
            let entry = entry?;
            if entry.modified_at < before && self.delete_unneeded(entry.digest, before).await? {
                copies += 1;
            }
        }
        if expired > 0 || drafts > 0 || copies > 0 {
            info!(
                expired,
                drafts, copies, "swept the archive: {copies} copies and {drafts} drafts deleted"
            );
        }
        Ok(())
    }

    /// Deletes a copy that no archived file has. Returns whether it did.
    async fn delete_unneeded(&self, digest: Digest, before: Timestamp) -> Result<bool, SweepError> {
        let (store, sha256) = (&self.dependencies.store, digest.to_string());
        if store.is_copy_needed(&sha256).await? {
            return Ok(false);
        }
        if !self
            .dependencies
            .storage
            .delete_older(digest, before)
            .await?
        {
            return Ok(false);
        }
        // Equal bytes may have been archived in the meantime. A fetch that records that after this
        // query looks for its copy itself.
        for id in store.list_files_with_copy(&sha256).await? {
            warn!(file.id = %id, sha256, "a sweep deleted a copy that was archived in the meantime; it is fetched again");
            let reason = COPY_DELETED.to_owned();
            let losing = self
                .dependencies
                .recorder
                .lose_copy(id, sha256.clone(), reason);
            losing.await?;
        }
        Ok(true)
    }
}
