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
        set_busy_timeout(&mut connection, FREE_WAIT).await?;
        let is_folded_in = truncate_log(&mut connection).await?;
        connection.close().await?;
        if is_folded_in {
            Ok(before.saturating_sub(self.log_bytes()))
        } else {
            Err(StoreError::Locked)
        }
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
