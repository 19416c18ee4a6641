//! One fetch: claim the file, fetch it, and record how that ended.

use std::pin::pin;
use std::time::Duration;

use tokio::time::{Instant, interval_at, sleep};
use tracing::{error, info, warn};

use super::Archiver;
use super::sweep::COPY_DELETED;
use crate::archive::Digest;
use crate::archive::fetch::{Failure, Fetched, Next, Progress};
use crate::archive::storage::StorageError;
use crate::domain::result_file::{FetchOutcome, FileCopy, FileId, FileState, LEASE};
use crate::observe::metrics::FetchResult;
use crate::store::StoreError;
use crate::store::recorder::calls::Claim;
use crate::store::results::FileView;

/// How often a lease is renewed during a fetch.
const RENEW_INTERVAL: Duration = Duration::from_secs(LEASE.as_secs() / 3);

/// The attempts of a fetch that failed for a reason that passes soon or not at all.
const ATTEMPTS_OF_FEW: u32 = 3;

/// The pause before the recorder is tried again.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

impl Archiver {
    /// Fetches a file. Returns its id.
    pub(super) async fn fetch(&self, view: FileView) -> FileId {
        let id = view.file.id;
        match self.claim(id).await {
            Ok(true) => {}
            Ok(false) => return id,
            Err(error) => {
                warn!(error = %error, file.id = %id, "could not claim a result file; trying again");
                let resting = sleep(RECORD_AGAIN);
                self.dependencies
                    .giving_up
                    .run_until_cancelled(resting)
                    .await;
                return id;
            }
        }
        let (progress, following) = Progress::new();
        // It can be followed until its row says how it ended.
        let _running = self.dependencies.fetches.begin(id, following);
        let end = self.try_fetch(&view, progress).await;
        let state = self.record_end(id, end.clone()).await;
        self.report(&view, &end, state);
        if let FetchOutcome::Archived(copy) = end {
            self.check_copy(id, copy.sha256).await;
        }
        id
    }

    /// Claims the file, so that no other process fetches it. A SQLite store has only one process.
    async fn claim(&self, id: FileId) -> Result<bool, StoreError> {
        if !self.dependencies.store.is_shared() {
            return Ok(true);
        }
        let holder = self.dependencies.holder.clone();
        let claimed = self.dependencies.recorder.claim_file(id, holder).await?;
        Ok(claimed == Claim::Ours)
    }

    async fn try_fetch(&self, view: &FileView, progress: Progress) -> FetchOutcome {
        let (fetcher, storage) = (
            self.dependencies.fetcher.clone(),
            self.dependencies.storage.clone(),
        );
        let url = view.file.url.clone();
        let giving_up = self.dependencies.giving_up.clone();
        // At a stop the fetch ends on those threads, and this waits for it. So its draft is deleted
        // before the process ends.
        let fetching = self.dependencies.background.run(Box::pin(async move {
            let fetching = fetcher.fetch_with(&storage, &url, progress);
            giving_up.run_until_cancelled(fetching).await
        }));
        match self.while_claimed(view.file.id, fetching).await {
            Some(Ok(found)) => FetchOutcome::Archived(copy(found)),
            Some(Err(failure)) => {
                let failed = Box::pin(self.failed(view, failure));
                let failed = self.dependencies.giving_up.run_until_cancelled(failed);
                failed.await.unwrap_or(FetchOutcome::GivenBack)
            }
            None => FetchOutcome::GivenBack,
        }
    }

    /// Renews the claim until `work` is done.
    async fn while_claimed<T>(&self, id: FileId, work: impl Future<Output = T>) -> T {
        let mut work = pin!(work);
        let mut renewals = interval_at(Instant::now() + RENEW_INTERVAL, RENEW_INTERVAL);
        loop {
            tokio::select! {
                done = work.as_mut() => return done,
                // If the claim is lost, the fetch goes on: two copies of a file do no harm.
                _ = renewals.tick() => {
                    let renewing = self.claim(id);
                    let giving_up = &self.dependencies.giving_up;
                    drop(giving_up.run_until_cancelled(renewing).await);
                }
            }
        }
    }

    async fn failed(&self, view: &FileView, failure: Failure) -> FetchOutcome {
        let reason = failure.to_string();
        match failure.next {
            Next::Retry { after } => FetchOutcome::Retry { reason, after },
            Next::RetryFew if view.file.attempts + 1 < ATTEMPTS_OF_FEW => FetchOutcome::Retry {
                reason,
                after: None,
            },
            Next::RetryFew | Next::GiveUp => FetchOutcome::GaveUp { reason },
            Next::FreshUrl if view.file.is_refreshed => FetchOutcome::GaveUp { reason },
            Next::FreshUrl => self.fresh_url(view, reason).await,
        }
    }

    /// Counts and logs the end of a fetch. `state` is the file's state after it, `None` if the end
    /// was not recorded.
    fn report(&self, view: &FileView, end: &FetchOutcome, state: Option<FileState>) {
        let (metrics, file) = (&self.dependencies.metrics, &view.file);
        let (task, number) = (view.submission_id, file.id.number());
        match (end, state) {
            (FetchOutcome::Archived(copy), _) => {
                metrics.fetch_ended(FetchResult::Archived);
                metrics.bytes_archived(copy.bytes);
                info!(submission.id = %task, result = number, bytes = copy.bytes, "archived a result");
            }
            (
                FetchOutcome::GaveUp { reason } | FetchOutcome::Retry { reason, .. },
                Some(FileState::Failed),
            ) => {
                metrics.fetch_ended(FetchResult::GaveUp);
                let reason = loggable(reason);
                warn!(submission.id = %task, result = number, reason, "a result is given up, until an operator retries it: {reason}");
            }
            (FetchOutcome::Retry { reason, .. }, _) => {
                metrics.fetch_ended(FetchResult::Failed);
                let reason = loggable(reason);
                info!(submission.id = %task, result = number, attempt = file.attempts + 1, reason, "could not fetch a result; trying again later: {reason}");
            }
            (FetchOutcome::FreshUrl { reason, .. }, _) => {
                metrics.fetch_ended(FetchResult::FreshUrl);
                let reason = loggable(reason);
                info!(submission.id = %task, result = number, reason, "EvoLink named a fresh URL for a result: {reason}");
            }
            (FetchOutcome::GaveUp { .. } | FetchOutcome::GivenBack, _) => {}
        }
    }

    /// Records the end of a fetch. Tries again until that succeeds or the process stops. Returns
    /// the file's state after it.
    async fn record_end(&self, id: FileId, end: FetchOutcome) -> Option<FileState> {
        let jitter = fastrand::f64();
        let mut is_logged = false;
        loop {
            let (recorder, holder) = (
                &self.dependencies.recorder,
                self.dependencies.holder.clone(),
            );
            match recorder.end_fetch(id, holder, end.clone(), jitter).await {
                Ok(state) => return state,
                Err(StoreError::Stopped) => return None,
                Err(error) if !is_logged => {
                    is_logged = true;
                    error!(error = %error, file.id = %id, "could not record how a fetch ended; trying again each second");
                }
                Err(_) => {}
            }
            let resting = sleep(RECORD_AGAIN);
            let giving_up = &self.dependencies.giving_up;
            giving_up.run_until_cancelled(resting).await?;
        }
    }

    /// Checks that the copy exists after its row was committed. A sweep of another process may have
    /// deleted it, if equal bytes had been stored long before and no file needed them any more.
    async fn check_copy(&self, id: FileId, sha256: String) {
        let Ok(digest) = sha256.parse::<Digest>() else {
            return;
        };
        if let Err(StorageError::NotFound) = self.dependencies.storage.bytes_of(digest).await {
            warn!(file.id = %id, sha256, "a sweep deleted a copy that was just archived; it is fetched again");
            let reason = COPY_DELETED.to_owned();
            let losing = self.dependencies.recorder.lose_copy(id, sha256, reason);
            if let Err(error) = losing.await {
                error!(error = %error, file.id = %id, "could not record that a copy is missing");
            }
        }
    }
}

/// Leaves out the host of a refused URL. It comes from a body, and bodies are not logged.
fn loggable(reason: &str) -> &str {
    let named = reason.split_once(" is not fetched: ");
    named.map_or(reason, |(_, why)| why)
}

fn copy(fetched: Fetched) -> FileCopy {
    FileCopy {
        sha256: fetched.sha256.to_string(),
        bytes: fetched.bytes,
        content_type: fetched.content_type.to_owned(),
        dimensions: fetched.width.zip(fetched.height),
    }
}
