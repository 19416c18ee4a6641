//! SQLite: the pragmas that make a commit durable, and the schema.

pub mod access;
pub mod checkpointer;
pub mod disk_space;
pub mod expected;
pub mod files;
pub mod last_mark;
pub mod locks;
pub mod mark;
pub mod open_files;
mod open_log;
pub mod reserve_file;
pub mod space;
pub mod start;

use std::mem::ManuallyDrop;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{self, Arc, OnceLock, PoisonError};
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _, SqlitePool};
use tokio::sync::Mutex;

use super::schema::{APPLIED, Schema};
use crate::domain::event::id::Epoch;
use crate::files::folder_of;
use crate::store::StoreError;
use crate::store::error::Unusable;
use disk_space::LogBounds;
use files::{cannot_open, log_file, real_path};
use last_mark::Acknowledged;
use locks::Locks;
use mark::{Log, Mark};
use open_files::OpenFiles;

/// The oldest safe version. SQLite from 3.7.0 to 3.51.2 can corrupt a write-ahead log when two
/// connections write and checkpoint at once.
const VERSION_MIN: (u32, u32, u32) = (3, 51, 3);

/// The number of readers. More only take time from the writer (measured: four and sixteen readers
/// cost it a third).
pub const READERS: u32 = 3;

/// Takes the write lock, and returns the numbers of the last task and of the last event.
pub const BEGIN: &str =
    "BEGIN IMMEDIATE; SELECT (SELECT max(seq) FROM task), (SELECT max(seq) FROM event)";

/// Waits for the write lock as a batch does. Writes nothing.
pub const PROBE: &str = "BEGIN IMMEDIATE; ROLLBACK";

/// The limit of SQLite's lock waits. No query of ours waits this long; it bounds a reader that
/// meets a checkpoint.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// SQLite must not need a temporary folder. A statement that changes many rows keeps its journal
/// there, and a container has no such folder that is writable.
const TEMP_STORE: &str = "memory";

/// In KiB, written as a negative number as SQLite requires.
const CACHE_SIZE_KIB: &str = "-16000";

/// The migrations that make up the schema.
pub static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// A database file that only this process uses.
#[derive(Clone, Debug)]
pub struct SqliteFile {
    options: SqliteConnectOptions,
    /// The path in the configuration, which may contain symlinks.
    given: PathBuf,
    /// A read connection that stays open, so that SQLite does not remove the log between two
    /// writers: the mark says that the log is there. It is closed only on purpose. Otherwise an
    /// unclean end might close it first.
    pub anchor: Arc<Mutex<Option<ManuallyDrop<SqliteConnection>>>>,
    /// The mark that this process has written last.
    written: Arc<sync::Mutex<Option<Mark>>>,
    /// The newest rows that the recorder has acknowledged.
    pub acknowledged: Arc<Acknowledged>,
    /// Whether a mark was written which says that the log is needed. Nothing is committed before
    /// that.
    is_marked: Arc<AtomicBool>,
    /// The current epoch, set once the schema is up to date. It does not change while the file is
    /// ours.
    pub epoch: Arc<OnceLock<Epoch>>,
    /// The files that the start has opened.
    pub files: Arc<OnceLock<OpenFiles>>,
    pub log_bounds: LogBounds,
    /// Released when the last clone is dropped. This is the last field, because SQLite's
    /// connections must close before.
    pub locks: Arc<Locks>,
}

/// Opens the database of `url` (`sqlite:PATH`), creates it if it does not exist, and upgrades its
/// schema.
///
/// # Errors
/// `InUse` if another process has it, `CannotOpen`, `Unsuitable`, `Damaged`, `SchemaTooNew`,
/// `SchemaDiffers`.
pub async fn open(url: &str) -> Result<(SqlitePool, SqliteFile), StoreError> {
    let options = connect_options(url)?;
    let given = options.get_filename().to_owned();
    std::fs::create_dir_all(folder_of(&given)).map_err(|error| cannot_open(&given, &error))?;
    // The companion files lie beside the real file, as SQLite's own files do.
    let path = real_path(&given).map_err(|error| cannot_open(&given, &error))?;
    let folder = folder_of(&path);
    access::check_access(&path)?;
    crate::store::engine::sqlite::disk_space::check_free_files(&path, &folder)?;
    let mut locks = Locks::take(&given, &path)?;
    let expected = expected::check_files(&path)?;
    locks.make_database(&path)?;
    let log_bounds = LogBounds::of(&folder);
    let file = SqliteFile {
        options: options
            .filename(&path)
            .create_if_missing(false)
            .pragma("journal_size_limit", log_bounds.kept.to_string()),
        given,
        anchor: Arc::default(),
        written: Arc::default(),
        acknowledged: Arc::default(),
        is_marked: Arc::default(),
        epoch: Arc::default(),
        files: Arc::default(),
        log_bounds,
        locks: Arc::new(locks),
    };
    let pool = match file.prepare(&folder, expected).await {
        Err(StoreError::Full) if crate::store::engine::sqlite::reserve_file::remove(&path) => {
            file.prepare(&folder, expected).await
        }
        prepared => prepared,
    };
    Ok((pool.map_err(|error| with_file(&path, error))?, file))
}

impl SqliteFile {
    pub async fn connect_writer(&self) -> Result<SqliteConnection, StoreError> {
        // A connection opens the file at the path. If that is another file than the open one, it
        // would be used with the wrong log, and both would be damaged.
        self.check_files()?;
        let mut connection = self.options.connect().await?;
        assert_durable(&mut connection).await?;
        Ok(connection)
    }

    /// Writes a mark. Marks are written one at a time, so that a slow older one cannot replace the
    /// final one.
    pub fn write_mark(&self, mark: &Mark) -> Result<(), StoreError> {
        let mut written = self.written();
        let is_over = written.is_some_and(|written| written.log == Log::FoldedIn);
        if !is_over {
            // A mark written beside another file would hide that the file was replaced.
            self.check_files()?;
            let mark = mark.with_stamp(self.synced_stamp()).of_file(self.path());
            mark.write(self.path())?;
            self.is_marked.store(true, Ordering::Relaxed);
            *written = Some(mark);
        }
        Ok(())
    }

    fn written(&self) -> sync::MutexGuard<'_, Option<Mark>> {
        self.written.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn synced_stamp(&self) -> Option<i32> {
        self.files.get().and_then(OpenFiles::synced_stamp)
    }

    /// Writes the first mark, if the start could not because the disk was full.
    pub async fn mark_start(&self) -> Result<(), StoreError> {
        let (false, Some(epoch)) = (self.is_marked.load(Ordering::Relaxed), self.epoch()) else {
            return Ok(());
        };
        let mut reader = self.reader_options().connect().await?;
        let mark = Mark::of(&mut reader, Log::Needed, epoch).await?;
        reader.close().await?;
        mark.write_aside(self).await
    }

    /// Checks that the files are still the ones that the start has opened.
    ///
    /// # Errors
    /// `Replaced`.
    pub fn check_files(&self) -> Result<(), StoreError> {
        self.files.get().map_or(Ok(()), OpenFiles::check)
    }

    pub fn reader_options(&self) -> SqliteConnectOptions {
        let options = self.options.clone();
        options.read_only(true).pragma("query_only", "on")
    }

    pub fn epoch(&self) -> Option<Epoch> {
        self.epoch.get().copied()
    }

    pub fn path(&self) -> &Path {
        self.options.get_filename()
    }

    /// Returns the length of the write-ahead log's file. The log itself may be shorter, by at most
    /// `LogBounds::kept`.
    pub fn log_bytes(&self) -> u64 {
        std::fs::metadata(log_file(self.path())).map_or(0, |log| log.len())
    }

    /// Folds the log in and removes it. If that fails or is interrupted, the log stays, and so does
    /// the mark that requires it.
    pub async fn fold_in_log(&self) -> Result<(), StoreError> {
        let mut connection = self.connect_writer().await?;
        let is_folded_in = truncate_log(&mut connection).await?;
        if let Some(epoch) = self.epoch()
            && is_folded_in
        {
            let mark = Mark::of(&mut connection, Log::FoldedIn, epoch).await?;
            mark.write_aside(self).await?;
            // From here on, the last writable connection removes the log when it closes.
            if let Some(anchor) = self.anchor.lock().await.take() {
                ManuallyDrop::into_inner(anchor).close().await?;
            }
        }
        Ok(connection.close().await?)
    }
}

/// Reads the schema of a database.
///
/// # Errors
/// `SchemaTooNew`, `SchemaDiffers`, `Damaged`.
pub async fn schema(connection: &mut SqliteConnection) -> Result<Schema, StoreError> {
    const TABLE: &str = "SELECT count(*) FROM sqlite_schema WHERE name = '_sqlx_migrations'";
    let tables: i64 = sqlx::query_scalar(TABLE)
        .fetch_one(&mut *connection)
        .await?;
    let applied = match tables {
        0 => Vec::new(),
        _ => sqlx::query_as(APPLIED).fetch_all(connection).await?,
    };
    Schema::of(&applied, &MIGRATIONS)
}

/// Returns the options of a connection that changes nothing of the database, not even its journal
/// mode.
pub fn look_options(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
        .pragma("temp_store", TEMP_STORE)
        .pragma("cache_size", CACHE_SIZE_KIB)
}

/// Changes how long the connection waits for locks of others.
pub async fn set_busy_timeout(
    connection: &mut SqliteConnection,
    timeout: Duration,
) -> Result<(), sqlx::Error> {
    let sql = format!("PRAGMA busy_timeout = {}", timeout.as_millis());
    connection.execute(AssertSqlSafe(sql)).await.map(drop)
}

/// Folds in and truncates the log. Returns whether nothing of it is left.
pub async fn truncate_log(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    const SQL: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as(SQL).fetch_one(connection).await?;
    Ok(busy == 0)
}

/// Returns the connection options for the database of `url`.
///
/// # Errors
/// `CannotOpen` if SQLite does not understand `url`.
pub fn connect_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
    let options = SqliteConnectOptions::from_str(url).map_err(|error| StoreError::CannotOpen {
        path: url.to_owned(),
        reason: error.to_string(),
    })?;
    Ok(options
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .busy_timeout(BUSY_TIMEOUT)
        .foreign_keys(true)
        .disable_statement_logging()
        // The checkpointer does this instead, and notices when it fails.
        .pragma("wal_autocheckpoint", "0")
        .pragma("temp_store", TEMP_STORE)
        .pragma("cache_size", CACHE_SIZE_KIB))
}

pub async fn readers(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(BUSY_TIMEOUT)
        .connect_with(options)
        .await
}

/// Refuses a connection whose commits would not wait for the disk, or that would need a temporary
/// folder.
async fn assert_durable(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
    // A library that was built with `SQLITE_TEMP_STORE=0` uses files, whatever the pragma says.
    const TEMP: &str = "SELECT (SELECT temp_store FROM pragma_temp_store) = 2
        AND NOT sqlite_compileoption_used('TEMP_STORE=0')";
    let version: String = sqlx::query_scalar("SELECT sqlite_version()")
        .fetch_one(&mut *connection)
        .await?;
    if parse_version(&version).is_none_or(|version| version < VERSION_MIN) {
        return Err(unusable(format!(
            "SQLite {version} is older than 3.51.3, which repaired the WAL-reset bug"
        )));
    }
    let journal: String = sqlx::query_scalar("PRAGMA journal_mode")
        .fetch_one(&mut *connection)
        .await?;
    let synchronous: i64 = sqlx::query_scalar("PRAGMA synchronous")
        .fetch_one(&mut *connection)
        .await?;
    if (journal.as_str(), synchronous) != ("wal", 2) {
        return Err(unusable(format!(
            "journal_mode={journal} synchronous={synchronous}, want wal and 2 (FULL)"
        )));
    }
    let uses_memory: bool = sqlx::query_scalar(TEMP).fetch_one(connection).await?;
    if !uses_memory {
        return Err(unusable(
            "temp_store is not memory, so SQLite would need a temporary folder".to_owned(),
        ));
    }
    Ok(())
}

fn unusable(reason: String) -> sqlx::Error {
    sqlx::Error::Configuration(Box::new(Unusable(reason)))
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

/// Names the file in an error of SQLite about it, and says what to do.
pub fn with_file(path: &Path, error: StoreError) -> StoreError {
    let file = path.display().to_string();
    match error {
        StoreError::Damaged(reason) if !reason.contains(&file) => StoreError::Damaged(format!(
            "{file}: {reason}: restore a backup (docs/backup.md)"
        )),
        other => other,
    }
}

pub fn cannot_open_database(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Sql(error) => StoreError::CannotOpen {
            path: path.display().to_string(),
            reason: error.to_string(),
        },
        other => other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_compared_as_numbers() {
        assert!(parse_version("3.51.3").unwrap() >= VERSION_MIN);
        assert!(parse_version("3.100.0").unwrap() >= VERSION_MIN);
        assert!(parse_version("3.9.9").unwrap() < VERSION_MIN);
        assert_eq!(parse_version("3.x"), None);
    }
}
