//! The high-water mark: a small file beside a SQLite database that says how far it had come, at
//! most a second ago. A database that is behind its mark, or is empty or gone, has lost
//! acknowledged data, and is refused (rule I6). To put an older copy back on purpose, remove
//! the mark.
//!
//! A missing write-ahead log alone is no damage. The last program that closes the database removes
//! the log, after folding all of it into the database. So the rows decide.
//!
//! The mark is never ahead of the disk. It is computed from rows that a reader sees, and SQLite has
//! synced those.

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::io::Errno;
use serde::{Deserialize, Serialize};
use sqlx::{SqliteConnection, SqliteExecutor};
use tokio::task::spawn_blocking;

use super::SqliteFile;
use crate::domain::event::id::Epoch;
use crate::files::{self, beside};
use crate::store::{Database, ReadPool, Store, StoreError, epochs, read_in_time};

/// The newest numbers. No number is used twice: both sequences continue from the newest row, so
/// that row is never deleted.
const NEWEST: &str =
    "SELECT coalesce((SELECT max(seq) FROM task), 0), coalesce((SELECT max(seq) FROM event), 0)";

/// The interval between two marks, while something is written.
pub const INTERVAL: Duration = Duration::from_secs(1);

/// The size limit of a mark, which is a line of about 70 bytes.
const BYTES_MAX: u64 = 4096;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mark {
    pub newest_task: i64,
    pub newest_event: i64,
    pub log: Log,
    /// The store's current epoch. Absent in a mark from before epochs existed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    epoch: Option<Epoch>,
    /// The inode of the database file. A copy that replaces the file has another one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    inode: Option<u64>,
    /// A stamp that the database file has had on the disk (see `open_files`). An older copy has a
    /// lower one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stamp: Option<i32>,
}

/// Whether the database is whole without its write-ahead log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Log {
    Needed,
    FoldedIn,
}

pub fn file(database: &Path) -> PathBuf {
    beside(database, ".mark")
}

impl Mark {
    /// Reads how far the database has come.
    pub async fn of(
        reader: impl SqliteExecutor<'_>,
        log: Log,
        epoch: Epoch,
    ) -> Result<Self, sqlx::Error> {
        let (newest_task, newest_event) = sqlx::query_as(NEWEST).fetch_one(reader).await?;
        Ok(Self {
            newest_task,
            newest_event,
            log,
            epoch: Some(epoch),
            inode: None,
            stamp: None,
        })
    }

    /// Returns the mark with a stamp that the database file has on the disk.
    #[must_use]
    pub const fn with_stamp(self, stamp: Option<i32>) -> Self {
        Self { stamp, ..self }
    }

    /// Returns the mark of the file that now is at `database`.
    #[must_use]
    pub fn of_file(self, database: &Path) -> Self {
        let inode = inode(database);
        Self { inode, ..self }
    }

    /// Returns the mark with these numbers, where they are higher.
    #[must_use]
    pub fn raised_to(self, newest_task: i64, newest_event: i64) -> Self {
        Self {
            newest_task: self.newest_task.max(newest_task),
            newest_event: self.newest_event.max(newest_event),
            ..self
        }
    }

    /// Returns whether `database` is not the file that this mark was written for. It may then be an
    /// older copy.
    pub fn is_of_other_file(&self, database: &Path) -> bool {
        self.inode.is_some() && self.inode != inode(database)
    }

    /// Refuses a database that has never had the epoch of the mark. It is another database, however
    /// many rows it has.
    pub async fn check_epoch(
        &self,
        database: &Path,
        reader: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        let Some(epoch) = self.epoch else {
            return Ok(());
        };
        if epochs::has_had(epoch, reader).await? {
            return Ok(());
        }
        let reason = format!(
            "is another database than before: it has never had the epoch {epoch}: put the right one in its place; or, if \
             this one was put there on purpose (without the -wal and -shm of the other),"
        );
        Err(damaged(database, &reason))
    }

    /// Replaces the previous mark atomically.
    pub fn write(&self, database: &Path) -> Result<(), StoreError> {
        self.try_write(&file(database))
            .map_err(|error| failure(&error))
    }

    /// Writes the mark of `database` into the file `mark`.
    pub fn write_to(&self, database: &Path, mark: &Path) -> Result<(), StoreError> {
        self.of_file(database)
            .try_write(mark)
            .map_err(|error| failure(&error))
    }

    fn try_write(&self, mark: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        files::replace(mark, files::PRIVATE, |file| file.write_all(&text))
    }
}

impl Store {
    /// Reads what a high-water mark would contain now. `None` before the first transaction of this
    /// process, and on PostgreSQL.
    pub async fn high_water_mark(&self) -> Result<Option<Mark>, StoreError> {
        let (Database::Sqlite(database), ReadPool::Sqlite(pool)) = (&self.database, &self.read)
        else {
            return Ok(None);
        };
        let Some(epoch) = database.epoch() else {
            return Ok(None);
        };
        let now = read_in_time(Mark::of(pool, Log::Needed, epoch)).await?;
        Ok(Some(now))
    }

    /// Writes `mark` beside a SQLite database.
    pub async fn write_mark(&self, mark: Mark) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(database) => mark.write_aside(database).await,
            Database::Postgres(_) => Ok(()),
        }
    }
}

impl Mark {
    /// Writes the mark on a blocking thread, so that no async task waits for the disk.
    pub async fn write_aside(self, file: &SqliteFile) -> Result<(), StoreError> {
        let file = file.clone();
        let written = spawn_blocking(move || file.write_mark(&self)).await;
        written.unwrap_or(Err(StoreError::Stopped))
    }
}

fn inode(file: &Path) -> Option<u64> {
    fs::metadata(file).ok().map(|found| found.ino())
}

/// Returns the newest task and event of a database that may have no tables yet.
pub async fn newest_rows(reader: &mut SqliteConnection) -> Result<(i64, i64), sqlx::Error> {
    const TABLES: &str = "SELECT count(*) FROM sqlite_schema WHERE name = 'task' OR name = 'event'";
    let tables: i64 = sqlx::query_scalar(TABLES).fetch_one(&mut *reader).await?;
    if tables < 2 {
        return Ok((0, 0));
    }
    sqlx::query_as(NEWEST).fetch_one(reader).await
}

pub fn read(database: &Path) -> Result<Option<Mark>, StoreError> {
    let path = file(database);
    let bytes = match fs::metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Ok(found) if found.len() > BYTES_MAX => Vec::new(),
        _ => fs::read(&path).map_err(|error| StoreError::CannotOpen {
            path: path.display().to_string(),
            reason: error.to_string(),
        })?,
    };
    // A mark is written atomically, so no crash of ours can have made it unreadable.
    serde_json::from_slice(&bytes)
        .map(Some)
        .map_err(|_| damaged(database, "has a mark that cannot be read; if it is whole,"))
}

/// Builds the error. `reason` ends by saying when it is right to continue without the mark.
pub fn damaged(database: &Path, reason: &str) -> StoreError {
    let (path, mark) = (database.display(), file(database));
    StoreError::Damaged(format!("{path} {reason} remove {}", mark.display()))
}

/// Maps an I/O error. Only errors which mean that the disk cannot be trusted count as a disk
/// failure.
fn failure(error: &io::Error) -> StoreError {
    match Errno::from_io_error(error) {
        Some(Errno::NOSPC | Errno::DQUOT) => StoreError::Full,
        Some(Errno::IO | Errno::ROFS) => StoreError::DiskFailed(error.to_string()),
        _ => StoreError::CannotOpen {
            path: "the high-water mark".to_owned(),
            reason: error.to_string(),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written_and_replaces_the_last_one() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("receiver.db");
        assert_eq!(read(&database).unwrap(), None);
        for newest_task in [1, 2] {
            let mark = Mark {
                newest_task,
                newest_event: 3,
                log: Log::FoldedIn,
                epoch: None,
                inode: None,
                stamp: None,
            };
            mark.write(&database).unwrap();
            assert_eq!(read(&database).unwrap(), Some(mark));
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        fs::write(file(&database), "").unwrap();
        assert!(matches!(read(&database), Err(StoreError::Damaged(_))));
    }
}
