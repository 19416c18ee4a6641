//! The workers of a SQLite database: its write-ahead log, its high-water mark, and its disk.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::SqliteConnection;
use tokio_util::sync::CancellationToken;

use crate::observe::metrics::Metrics;
use crate::store::engine::sqlite::mark::Mark;
use crate::store::{Store, StoreError};
use crate::workers::run_loop::{Progress, Worker};

/// The delay after a failure that may heal, such as a full disk.
const BACK_OFF: Duration = Duration::from_secs(1);

/// Folds the write-ahead log into the database, on a connection of its own.
pub struct Checkpointer {
    pub store: Arc<Store>,
    /// Cancelled when the disk has failed.
    pub failed: CancellationToken,
    pub connection: Option<SqliteConnection>,
}

impl Worker for Checkpointer {
    const WORK: &'static str = "folding the write-ahead log into the database";
    const BACK_OFF: Duration = BACK_OFF;
    type Error = StoreError;

    async fn tick(&mut self, _stop: &CancellationToken) -> Result<Progress, StoreError> {
        let began = Instant::now();
        let Err(error) = self.store.checkpoint(&mut self.connection).await else {
            return Ok(Progress::Idle);
        };
        self.connection = None;
        if error.is_fatal() {
            self.store.fail(&error, &self.failed);
            return Ok(Progress::Over);
        }
        if self.store.free_space_after(&error, began).await {
            // There may be no new commit that starts a checkpoint.
            self.store.log_written();
            return Ok(Progress::Idle);
        }
        Err(error)
    }

    async fn wake_up(&mut self) {
        self.store.checkpoint_due().await;
    }

    async fn finish(self) {
        if let Some(connection) = self.connection {
            // A failure leaves nothing behind that the next start does not handle.
            let _ = sqlx::Connection::close(connection).await;
        }
    }
}

/// Writes a high-water mark each second in which the database advanced. Nothing waits for it.
pub struct MarkKeeper {
    pub store: Arc<Store>,
    /// Cancelled when the disk has failed.
    pub failed: CancellationToken,
    pub written: Option<Mark>,
}

impl Worker for MarkKeeper {
    const WORK: &'static str = "writing the high-water mark";
    const BACK_OFF: Duration = BACK_OFF;
    type Error = StoreError;

    async fn tick(&mut self, _stop: &CancellationToken) -> Result<Progress, StoreError> {
        let Some(now) = self.store.high_water_mark().await? else {
            return Ok(Progress::Idle);
        };
        // A repeat or a poll adds no row. Writing an equal mark would sync the disk twice for
        // nothing.
        if self.written == Some(now) {
            return Ok(Progress::Idle);
        }
        match self.store.write_mark(now).await {
            Ok(()) => self.written = Some(now),
            Err(error) if error.is_fatal() => {
                self.store.fail(&error, &self.failed);
                return Ok(Progress::Over);
            }
            Err(error) => return Err(error),
        }
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        self.store.mark_due().await;
    }
}

/// Watches the free space, and that the files of the database are still the ones that are open.
pub struct SpaceWatch {
    pub store: Arc<Store>,
    /// Cancelled when the file system has become read-only, or a file was replaced.
    pub failed: CancellationToken,
    pub metrics: Metrics,
    /// The size of the reserve, in bytes: `store.min_free`.
    pub min_free: u64,
}

impl Worker for SpaceWatch {
    const WORK: &'static str = "the space watch";
    const BACK_OFF: Duration = BACK_OFF;
    type Error = Infallible;

    async fn tick(&mut self, _stop: &CancellationToken) -> Result<Progress, Infallible> {
        let Self {
            store,
            failed,
            metrics,
            min_free,
        } = self;
        store.look_at_space(*min_free, metrics, failed).await;
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        self.store.space_check_due().await;
    }
}
