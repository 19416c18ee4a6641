//! Folds SQLite's write-ahead log into the database, on a connection of its own, so that no callback waits for it. SQLite's
//! own way, as a part of some commit, would hold callbacks up, and fails without a word (RELIABILITY I4).

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use sqlx::{Connection as _, SqliteConnection};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::sqlite::SqliteFile;
use super::writer::Writer;
use super::{Database, Store, StoreError};

/// Often while there is something to fold in, so that there is little to do each time.
const INTERVAL: Duration = Duration::from_millis(50);

/// After a failure that may heal, as on a full disk.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A log of so many pages of 4 KiB is worth a pause of the recorder, in which nobody appends to it: only a log that is
/// folded in to its end begins anew.
const PAGES_MAX: i64 = 8192;

/// What the recorder and the checkpointer tell each other of the log.
#[derive(Debug, Default)]
pub(super) struct WriteAheadLog {
    written: Notify,
    pages: AtomicI64,
}

impl WriteAheadLog {
    /// Returns when it is time to fold in what was written.
    async fn next(&self) {
        self.written.notified().await;
        sleep(INTERVAL).await;
    }
}

impl Store {
    /// Runs until `stop`. Cancels `failed` if the disk fails. On PostgreSQL there is nothing to do.
    pub async fn run_checkpoints(&self, failed: CancellationToken, stop: CancellationToken) {
        let Database::Sqlite(file) = &self.database else {
            return stop.cancelled().await;
        };
        while !stop.is_cancelled() {
            match self.checkpoint_until(file, &stop).await {
                Ok(()) => {}
                Err(error) if error.is_fatal() => {
                    error!(error = %error, "the disk failed in a checkpoint");
                    failed.cancel();
                    return stop.cancelled().await;
                }
                Err(error) => {
                    warn!(error = %error, "no checkpoint was made; the write-ahead log grows until one is");
                    stop.run_until_cancelled(sleep(BACK_OFF)).await;
                }
            }
        }
    }

    async fn checkpoint_until(
        &self,
        file: &SqliteFile,
        stop: &CancellationToken,
    ) -> Result<(), StoreError> {
        let mut connection = file.connect_writer().await?;
        while stop.run_until_cancelled(self.log.next()).await.is_some() {
            checkpoint(&mut connection, &self.log).await?;
        }
        Ok(connection.close().await?)
    }

    /// After each transaction of the recorder, on its connection.
    pub(super) async fn after_commit(&self, writer: &mut Writer) -> Result<(), StoreError> {
        self.log.written.notify_one();
        match writer {
            Writer::Sqlite(connection) if self.log.pages.load(Ordering::Relaxed) > PAGES_MAX => {
                checkpoint(connection, &self.log).await
            }
            Writer::Sqlite(_) | Writer::Postgres(_) => Ok(()),
        }
    }
}

/// Folds in what can be without waiting for anybody.
async fn checkpoint(
    connection: &mut SqliteConnection,
    log: &WriteAheadLog,
) -> Result<(), StoreError> {
    let (_busy, pages, folded): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)")
        .fetch_one(connection)
        .await?;
    // A log that is folded in to its end begins anew with the next transaction.
    let left = if folded == pages { 0 } else { pages };
    log.pages.store(left, Ordering::Relaxed);
    Ok(())
}
