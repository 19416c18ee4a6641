//! Folds SQLite's write-ahead log into the database, on a connection of its own, so that no callback waits for it. SQLite's
//! own way, as a part of some commit, would hold callbacks up, and fails without a word (RELIABILITY I4).

use std::time::Duration;

use sqlx::{Connection as _, Executor as _};
use tokio::sync::Notify;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::sqlite::SqliteFile;
use super::writer::Writer;
use super::{Database, Store, StoreError, mark};

/// Often while there is something to fold in, so that there is little to do each time.
const INTERVAL: Duration = Duration::from_millis(50);

/// After a failure that may heal, as on a full disk.
const BACK_OFF: Duration = Duration::from_secs(1);

/// A log so long is worth a pause of the recorder, in which nobody appends to it: only one that is folded in to its end, and
/// that nobody reads any more, begins anew. A batch comes on top (I38: 64 MiB).
const LOG_BYTES_MAX: u64 = 32 * 1024 * 1024;

/// What the recorder tells the checkpointer of the log.
#[derive(Debug, Default)]
pub(super) struct WriteAheadLog {
    written: Notify,
    /// The same, for the high-water mark.
    unmarked: Notify,
}

impl WriteAheadLog {
    /// Returns when it is time to fold in what was written.
    async fn next(&self) {
        self.written.notified().await;
        sleep(INTERVAL).await;
    }

    /// Returns when it is time to write the next high-water mark.
    pub(super) async fn next_mark(&self) {
        self.unmarked.notified().await;
        sleep(mark::INTERVAL).await;
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
                // There is room now, and may be nobody who writes.
                Err(error) if self.give_way(&error).await => self.log.written.notify_one(),
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
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)").await?;
        }
        Ok(connection.close().await?)
    }

    /// After each transaction of the recorder, on its connection.
    pub(super) async fn after_commit(&self, writer: &mut Writer) -> Result<(), StoreError> {
        self.log.written.notify_one();
        self.log.unmarked.notify_one();
        let (Writer::Sqlite(connection), Database::Sqlite(file)) = (writer, &self.database) else {
            return Ok(());
        };
        if file.log_bytes() > LOG_BYTES_MAX {
            // Waits for the questions under way, and no longer than the busy timeout; those that come later do not read the log.
            connection.execute("PRAGMA wal_checkpoint(RESTART)").await?;
        }
        Ok(())
    }
}
