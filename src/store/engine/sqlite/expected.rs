//! Checks of a SQLite database before it is served: rows, epoch and stamp must agree with its
//! high-water mark, and its pages must be consistent. The start and `check` both use them.

use std::fs::{self, File};
use std::io::ErrorKind;
use std::path::Path;
use std::time::Instant;

use sqlx::SqliteConnection;
use tracing::info;

use super::files::{cannot_open, log_file};
use super::mark;
use super::mark::{Log, Mark, damaged, newest_rows};
use super::open_files::read_stamp;
use super::reserve_file;
use crate::store::StoreError;

/// A check that takes longer is logged.
const CHECK_LOGGED_MS: u128 = 1000;

/// What the files beside a database say about it, before SQLite opens any of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    mark: Mark,
    /// Whether the log should exist and does not.
    pub misses_log: bool,
}

/// Compares the files with the mark. Returns what the rows must show, or `None` if there is no
/// mark.
///
/// # Errors
/// `Damaged`, `Gone`.
pub fn check_files(database: &Path) -> Result<Option<Expected>, StoreError> {
    let mark = mark::read(database)?;
    let log = log_file(database);
    if bytes(database)? == 0 && (mark.is_some() || bytes(&log)? > 0) {
        let reason = format!(
            "is empty or gone, and was not before: restore it; or, to begin with nothing, remove {} and",
            log.display()
        );
        return Err(damaged(database, &reason));
    }
    if reserve_file::exists(database) && !database.exists() {
        return Err(is_gone(database, &reserve_file::file(database)));
    }
    Ok(mark.map(|mark| Expected {
        misses_log: mark.log == Log::Needed && !log.exists(),
        mark,
    }))
}

/// Returns the size of a file; 0 if there is none.
fn bytes(path: &Path) -> Result<u64, StoreError> {
    match fs::metadata(path) {
        Ok(found) => Ok(found.len()),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
        Err(error) => Err(cannot_open(path, &error)),
    }
}

/// The error of a start without `database` beside `trace`, a file that an earlier start left.
pub fn is_gone(database: &Path, trace: &Path) -> StoreError {
    StoreError::Gone {
        path: database.display().to_string(),
        trace: trace.display().to_string(),
    }
}

/// How the rows of a database agree with its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rows {
    AllThere,
    /// All rows that the mark counts are there, although the log is missing.
    AllThereWithoutLog,
}

impl Expected {
    /// Returns whether `database` is not the file that the mark was written for. It may then be an
    /// older copy.
    pub fn is_of_other_file(&self, database: &Path) -> bool {
        self.mark.is_of_other_file(database)
    }

    /// Returns the lowest stamp that the database file can have.
    pub const fn stamp(&self) -> Option<i32> {
        self.mark.stamp
    }

    /// Checks that the database has come at least as far as its mark says.
    ///
    /// # Errors
    /// `Damaged` if it has not.
    pub async fn check_rows(
        &self,
        database: &Path,
        reader: &mut SqliteConnection,
    ) -> Result<Rows, StoreError> {
        let Self { mark, misses_log } = self;
        let (newest_task, newest_event) = newest_rows(reader).await?;
        if newest_task < mark.newest_task || newest_event < mark.newest_event {
            let is_log_lost = mark.log == Log::Needed && bytes(&log_file(database))? == 0;
            let (log, put_back) = if is_log_lost {
                let log = " with its write-ahead log (-wal), which is missing or empty";
                (log, "put the log back, or ")
            } else {
                ("", "")
            };
            let reason = format!(
                "has lost rows{log}: it ends at task {} and event {}, and had come to {} and {}: {put_back}restore a newer copy; or, \
                if this older one was put in place on purpose (without the -wal and -shm of the other),",
                newest_task, newest_event, mark.newest_task, mark.newest_event
            );
            return Err(damaged(database, &reason));
        }
        mark.check_epoch(database, reader).await?;
        if !misses_log {
            return Ok(Rows::AllThere);
        }
        // If the log was deleted while it was being folded in, the pages may be inconsistent. Only
        // a full check compares the indexes with their tables.
        match first_fault("PRAGMA integrity_check(1)", reader).await? {
            None => Ok(Rows::AllThereWithoutLog),
            Some(found) => {
                let reason = format!(
                    "has no write-ahead log (-wal), though it was not closed, and does not hold together ({found}): restore it; \
                     or, to go on with what is there,"
                );
                Err(damaged(database, &reason))
            }
        }
    }

    /// Refuses an older file that replaced the database while its log stayed.
    fn check_stamp(&self, database: &Path) -> Result<(), StoreError> {
        let Some(stamp) = self.mark.stamp else {
            return Ok(());
        };
        let found = File::open(database).and_then(|file| read_stamp(&file));
        match found {
            Ok(found) if found >= stamp => return Ok(()),
            Err(error) if error.kind() != ErrorKind::UnexpectedEof => {
                return Err(cannot_open(database, &error));
            }
            _ => {}
        }
        let reason = "is an older copy than the file that was open, put in its place: restore the newer one; or, if this one was \
                      put there on purpose (without the -wal and -shm of the other),";
        Err(damaged(database, reason))
    }

    /// Returns whether the last process closed the database, so that no write was in progress.
    fn is_closed(&self, database: &Path) -> bool {
        let log = fs::metadata(log_file(database)).map_or(0, |log| log.len());
        self.mark.log == Log::FoldedIn && log == 0 && !self.is_of_other_file(database)
    }
}

/// Checks the rows and pages of a database that is not empty. Reads all of it unless it was closed
/// cleanly.
///
/// # Errors
/// `Damaged`.
pub async fn check_database(
    expected: Option<Expected>,
    database: &Path,
    reader: &mut SqliteConnection,
) -> Result<Rows, StoreError> {
    let mut rows = Rows::AllThere;
    if let Some(expected) = expected {
        rows = expected.check_rows(database, reader).await?;
        expected.check_stamp(database)?;
        if rows == Rows::AllThereWithoutLog || expected.is_closed(database) {
            return Ok(rows);
        }
    }
    let began = Instant::now();
    // A file other than the one of the mark may be mixed from two files. Each page alone would then
    // look good.
    let is_other = expected.is_some_and(|expected| expected.is_of_other_file(database));
    let sql = if is_other {
        "PRAGMA integrity_check(1)"
    } else {
        "PRAGMA quick_check(1)"
    };
    if let Some(found) = first_fault(sql, reader).await? {
        return Err(StoreError::Damaged(format!(
            "{} does not hold together ({found}): restore a backup",
            database.display()
        )));
    }
    let ms = began.elapsed().as_millis();
    if ms >= CHECK_LOGGED_MS {
        info!(
            ms,
            "the database was not closed in order; all of it was read and is whole, in {ms} ms"
        );
    }
    Ok(rows)
}

/// Returns the first fault that a check of the pages finds.
async fn first_fault(
    sql: &'static str,
    reader: &mut SqliteConnection,
) -> Result<Option<String>, StoreError> {
    let found: Result<String, StoreError> = sqlx::query_scalar(sql)
        .fetch_one(reader)
        .await
        .map_err(StoreError::from);
    let found = match found {
        Ok(found) | Err(StoreError::Damaged(found)) => found,
        Err(error) => return Err(error),
    };
    let last = found.lines().last().unwrap_or_default();
    Ok((last != "ok").then(|| last.to_owned()))
}
