//! Folds SQLite's write-ahead log into the database on a separate connection, so that no callback
//! waits for it. SQLite's automatic checkpoint would run inside a commit, delay callbacks, and fail
//! silently (rule I4).

use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::{Connection as _, Executor as _, Row as _, SqliteConnection};
use tokio::sync::Notify;
use tokio::time::sleep;

use super::mark;
use super::open_files::OpenFiles;
use super::{BUSY_TIMEOUT, SqliteFile, set_busy_timeout, truncate_log};
use crate::store::engine::writer::Writer;
use crate::store::{Database, Store, StoreError};

/// The interval between checkpoints while there is something to fold in. It is short, so that there
/// is little to do each time.
const INTERVAL: Duration = Duration::from_millis(50);

/// How long the recorder and the start wait for readers of the log. Our own queries take less.
pub const READERS_WAIT: Duration = Duration::from_millis(100);

/// How long callbacks wait for readers of the log on a full disk, where nothing can be recorded
/// anyway.
const FREE_WAIT: Duration = Duration::from_secs(1);

/// The pause before the log is folded in again on a full disk. Another checkpoint is usually over
/// by then.
const FREE_PAUSE: Duration = Duration::from_millis(10);

/// A reader that stays longer, such as a backup, keeps the log from restarting. The recorder does
/// not wait for it each time, because callbacks wait for the recorder.
const RESTART_EVERY: Duration = Duration::from_secs(1);

/// The state of the log that the recorder shares with the checkpointer.
#[derive(Debug, Default)]
pub struct WriteAheadLog {
    /// When a reader last kept the log from restarting.
    was_busy_at: Mutex<Option<Instant>>,
    written: Notify,
    /// Signals new commits for the high-water mark, as `written` does for checkpoints.
    unmarked: Notify,
}

impl WriteAheadLog {
    fn may_restart(&self) -> bool {
        let was_busy_at = self.was_busy_at.lock();
        let was_busy_at = was_busy_at.unwrap_or_else(PoisonError::into_inner);
        was_busy_at.is_none_or(|at| at.elapsed() >= RESTART_EVERY)
    }

    fn restarted(&self, is_busy: bool) {
        let was_busy_at = self.was_busy_at.lock();
        *was_busy_at.unwrap_or_else(PoisonError::into_inner) = is_busy.then(Instant::now);
    }
}

impl Store {
    /// Waits until the next checkpoint is due.
    pub async fn checkpoint_due(&self) {
        self.log.written.notified().await;
        sleep(INTERVAL).await;
    }

    /// Waits until the next high-water mark is due.
    pub async fn mark_due(&self) {
        self.log.unmarked.notified().await;
        sleep(mark::INTERVAL).await;
    }

    /// Folds the log in as far as its readers allow, on `connection`, which is opened if needed. On
    /// PostgreSQL there is nothing to do.
    pub async fn checkpoint(
        &self,
        connection: &mut Option<SqliteConnection>,
    ) -> Result<(), StoreError> {
        let Database::Sqlite(file) = &self.database else {
            return Ok(());
        };
        let made = checkpoint(file, connection).await;
        // The cause may be that another file now lies at the path.
        made.map_err(|error| file.check_files().err().unwrap_or(error))
    }

    /// Signals a commit to the checkpointer and to the writer of the high-water mark.
    pub fn log_written(&self) {
        self.log.written.notify_one();
        self.log.unmarked.notify_one();
    }

    /// Runs after each transaction of the recorder, on its connection.
    pub async fn after_commit(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let (Writer::Sqlite(connection), Database::Sqlite(file)) = (writer, &self.database) else {
            return Ok(());
        };
        // A log of this size justifies a pause of the recorder, during which nothing is appended.
        // The log restarts only after it was folded in completely and has no readers. A batch may
        // exceed the limit (I38: 64 MiB).
        if file.log_bytes() > file.log_bounds.max && self.log.may_restart() {
            let is_busy = restart_log(connection).await?;
            self.log.restarted(is_busy);
        }
        Ok(())
    }
}

impl SqliteFile {
    /// Folds the log into the database and frees its space. Returns the number of bytes freed.
    ///
    /// # Errors
    /// `Full` if the database has no space to grow, `Locked` if the log is still being read.
    pub async fn free_log(&self) -> Result<u64, StoreError> {
        let before = self.log_bytes();
        let mut connection = self.connect_writer().await?;
        let is_folded_in = truncate_log_in_time(&mut connection).await?;
        connection.close().await?;
        if is_folded_in {
            Ok(before.saturating_sub(self.log_bytes()))
        } else {
            Err(StoreError::Locked)
        }
    }
}

/// Folds in and truncates the log. Waits up to `FREE_WAIT` for readers and for another checkpoint.
/// Returns whether nothing of the log is left.
async fn truncate_log_in_time(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    let began = Instant::now();
    let mut left = FREE_WAIT;
    loop {
        // SQLite waits for readers. It does not wait for another checkpoint, and fails at once.
        set_busy_timeout(connection, left).await?;
        if truncate_log(connection).await? {
            return Ok(true);
        }
        left = FREE_WAIT.saturating_sub(began.elapsed());
        if left.is_zero() {
            return Ok(false);
        }
        sleep(FREE_PAUSE.min(left)).await;
    }
}

async fn checkpoint(
    file: &SqliteFile,
    connection: &mut Option<SqliteConnection>,
) -> Result<(), StoreError> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(file.connect_writer().await?),
    };
    // Check before writing. If an older copy lies at the path, it would receive our newest pages
    // and then look like the database.
    file.check_files()?;
    let stamp = file.files.get().and_then(OpenFiles::stamp_on_disk);
    let (busy, frames, copied): (i64, i64, i64) = sqlx::query_as("PRAGMA wal_checkpoint(PASSIVE)")
        .fetch_one(connection)
        .await?;
    // SQLite syncs the database only once the whole log was copied. A reader may stop the
    // checkpoint early, and SQLite then still reports `busy = 0`.
    let is_synced = busy == 0 && frames == copied;
    if let (true, Some(files)) = (is_synced, file.files.get()) {
        files.checkpointed(stamp);
    }
    Ok(())
}

/// Folds the log in and restarts it, unless it is still being read. Returns whether it is.
async fn restart_log(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    set_busy_timeout(connection, READERS_WAIT).await?;
    // Readers that start during the wait do not read the log.
    let row = connection
        .fetch_one("PRAGMA wal_checkpoint(RESTART)")
        .await?;
    set_busy_timeout(connection, BUSY_TIMEOUT).await?;
    Ok(row.try_get::<i64, _>(0)? != 0)
}

#[cfg(test)]
mod tests {
    use tempfile::TempDir;
    use tokio::time::timeout;

    use super::*;

    async fn open() -> (TempDir, Store, SqliteFile) {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("receiver.db").display());
        let store = Store::open(url.as_str()).await.unwrap();
        let Database::Sqlite(file) = &store.database else {
            unreachable!("the URL is SQLite's")
        };
        let file = SqliteFile::clone(file);
        (folder, store, file)
    }

    async fn is_busy(connection: &mut SqliteConnection, checkpoint: &'static str) -> bool {
        let row = connection.fetch_one(checkpoint).await.unwrap();
        row.get::<i64, _>(0) != 0
    }

    #[tokio::test]
    async fn the_log_is_freed_after_another_checkpoint_has_ended() {
        let (_folder, _store, file) = open().await;
        let mut writer = file.connect_writer().await.unwrap();
        writer.execute("BEGIN IMMEDIATE").await.unwrap();
        let mut other = file.connect_writer().await.unwrap();
        // This checkpoint waits for the writer, and no other one can run meanwhile.
        let other = async { while is_busy(&mut other, "PRAGMA wal_checkpoint(FULL)").await {} };
        let mut third = file.connect_writer().await.unwrap();
        let story = async {
            while !is_busy(&mut third, "PRAGMA wal_checkpoint(PASSIVE)").await {
                sleep(Duration::from_millis(1)).await;
            }
            let mut freeing = std::pin::pin!(file.free_log());
            let early = timeout(FREE_WAIT / 10, &mut freeing).await;
            assert!(early.is_err(), "it does not wait: {early:?}");
            writer.execute("ROLLBACK").await.unwrap();
            freeing.await
        };
        let ((), freed) = tokio::join!(other, story);
        assert!(freed.is_ok(), "{freed:?}");
        assert_eq!(file.log_bytes(), 0);
    }

    #[tokio::test]
    async fn a_reader_that_stays_keeps_the_log_on_a_full_disk() {
        let (_folder, _store, file) = open().await;
        let mut reader = file.connect_writer().await.unwrap();
        let sql = "BEGIN; SELECT count(*) FROM task";
        reader.execute(sql).await.unwrap();
        let began = Instant::now();
        let freed = file.free_log().await;
        assert!(matches!(freed, Err(StoreError::Locked)), "{freed:?}");
        assert!(began.elapsed() >= FREE_WAIT);
    }
}
