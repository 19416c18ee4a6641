//! SQLite: the pragmas that make a commit durable, the schema.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::Path;
use std::str::FromStr;
use std::sync::{self, Arc, OnceLock, PoisonError};
use std::time::Duration;

use sqlx::migrate::{MigrateError, Migrator};
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, SqlitePool};
use tokio::sync::Mutex;

use super::files::{cannot_open, folder_of, lock, log_file, make_file, sync_folder};
use super::mark::{self, Log, Mark};
use super::{StoreError, ballast, epochs};
use crate::domain::event_id::Epoch;

/// SQLite from 3.7.0 to 3.51.2 can corrupt a write-ahead log when two connections write and checkpoint at once.
const VERSION_MIN: (u32, u32, u32) = (3, 51, 3);

/// More readers than this only take time from the writer (measured: four and sixteen readers cost it a third).
const READERS: u32 = 3;

/// Takes the write lock, and tells the numbers of the last task and of the last event.
pub(super) const BEGIN: &str =
    "BEGIN IMMEDIATE; SELECT (SELECT max(seq) FROM task), (SELECT max(seq) FROM event)";

/// No query of ours waits this long; it bounds a reader that meets a checkpoint.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// A log that begins anew keeps its file, up to this length: the file tells how long the log is, if it is longer.
const LOG_BYTES_KEPT: &str = "16777216";

/// In KiB, negative as SQLite wants it.
const CACHE_SIZE_KIB: &str = "-16000";

/// The schema, step by step.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/sqlite");

/// A database file that is ours alone.
#[derive(Clone, Debug)]
pub(super) struct SqliteFile {
    options: SqliteConnectOptions,
    /// Reads, and keeps SQLite from removing the log between two connections that write: the mark says that it is there. Never
    /// closed but on purpose, so that nothing that ends in disorder ends with it first.
    anchor: Arc<Mutex<Option<ManuallyDrop<SqliteConnection>>>>,
    /// Whether the last mark is written: the one that wants no log.
    is_marked_for_good: Arc<sync::Mutex<bool>>,
    /// The current one, once the schema is up to date; it stays the same as long as the file is ours.
    epoch: Arc<OnceLock<Epoch>>,
    /// Lets go of the file when the last clone is dropped.
    _lock: Arc<File>,
}

/// Opens the database of `url` (`sqlite:PATH`), makes it if it is not there, and brings its schema up to date.
///
/// # Errors
/// `InUse` if another process has it, `CannotOpen`, `Damaged`, `SchemaTooNew`.
pub(super) async fn open(url: &str) -> Result<(SqlitePool, SqliteFile), StoreError> {
    let options = connect_options(url)?;
    let path = options.get_filename().to_owned();
    let folder = folder_of(&path);
    std::fs::create_dir_all(&folder).map_err(|error| cannot_open(&path, &error))?;
    let file = SqliteFile {
        _lock: Arc::new(lock(&path)?),
        options: options.create_if_missing(false),
        anchor: Arc::default(),
        is_marked_for_good: Arc::default(),
        epoch: Arc::default(),
    };
    let mark = mark::check_files(&path)?;
    // SQLite would make it readable for all; its log and its index get the mode of the database.
    make_file(&path).map_err(|error| cannot_open(&path, &error))?;
    let pool = match file.prepare(&folder, mark).await {
        Err(StoreError::Full) if ballast::remove(&path) => file.prepare(&folder, mark).await,
        prepared => prepared,
    }?;
    Ok((pool, file))
}

impl SqliteFile {
    /// Brings the schema up to date, and opens the database for those who read.
    async fn prepare(&self, folder: &Path, mark: Option<Mark>) -> Result<SqlitePool, StoreError> {
        let path = self.path();
        let open_error = |error: sqlx::Error| cannot_open_database(path, error.into());
        if let Some(mark) = mark {
            // By one that cannot write: what is refused is left as it was found.
            let mut reader = self.reader_options().connect().await.map_err(open_error)?;
            mark.check_rows(path, &mut reader).await?;
            reader.close().await?;
        }
        let mut connection = self
            .connect_writer()
            .await
            .map_err(|error| cannot_open_database(path, error))?;
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(migration_error)?;
        let epoch = match self.epoch() {
            Some(epoch) => epoch,
            // Without a mark, or in a file that is not the one of the mark, the store was put back by hand.
            None => {
                let is_restored = mark.is_none_or(|mark| mark.is_of_other_file(path));
                epochs::settle_sqlite(&mut connection, is_restored).await?
            }
        };
        let epoch = *self.epoch.get_or_init(|| epoch);
        // The files' names must survive a power cut as surely as their content.
        sync_folder(folder).map_err(|error| cannot_open(path, &error))?;
        let mut anchor = self.reader_options().connect().await?;
        let mark = Mark::of(&mut anchor, Log::Needed, epoch).await?;
        *self.anchor.lock().await = Some(ManuallyDrop::new(anchor));
        self.write_mark(&mark)?;
        let pool = readers(self.reader_options()).await?;
        connection.close().await?;
        Ok(pool)
    }

    pub(super) async fn connect_writer(&self) -> Result<SqliteConnection, StoreError> {
        let mut connection = self.options.connect().await?;
        assert_durable(&mut connection).await?;
        Ok(connection)
    }

    /// One after the other: a slow one of before must not overtake the last one.
    pub(super) fn write_mark(&self, mark: &Mark) -> Result<(), StoreError> {
        let mut is_over = self
            .is_marked_for_good
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if !*is_over {
            mark.write(self.path())?;
            *is_over = mark.log == Log::FoldedIn;
        }
        Ok(())
    }

    fn reader_options(&self) -> SqliteConnectOptions {
        let options = self.options.clone();
        options.read_only(true).pragma("query_only", "on")
    }

    pub(super) fn epoch(&self) -> Option<Epoch> {
        self.epoch.get().copied()
    }

    pub(super) fn path(&self) -> &Path {
        self.options.get_filename()
    }

    /// How long the write-ahead log is, or `LOG_BYTES_KEPT` if it is shorter.
    pub(super) fn log_bytes(&self) -> u64 {
        std::fs::metadata(log_file(self.path())).map_or(0, |log| log.len())
    }

    /// Folds the log in and removes it. If that fails, or is broken off, the log stays, and so does the mark that wants it.
    pub(super) async fn fold_in_log(&self) -> Result<(), StoreError> {
        let mut connection = self.connect_writer().await?;
        let is_folded_in = truncate_log(&mut connection).await?;
        if let Some(epoch) = self.epoch()
            && is_folded_in
        {
            let mark = Mark::of(&mut connection, Log::FoldedIn, epoch).await?;
            mark.write_aside(self).await?;
            // From here on the last connection that may write removes the log when it closes.
            if let Some(anchor) = self.anchor.lock().await.take() {
                ManuallyDrop::into_inner(anchor).close().await?;
            }
        }
        Ok(connection.close().await?)
    }
}

/// Whether nothing of the log is left.
async fn truncate_log(connection: &mut SqliteConnection) -> Result<bool, StoreError> {
    const SQL: &str = "PRAGMA wal_checkpoint(TRUNCATE)";
    let (busy, _, _): (i64, i64, i64) = sqlx::query_as(SQL).fetch_one(connection).await?;
    Ok(busy == 0)
}

/// Where the database of `url` lies.
///
/// # Errors
/// `CannotOpen` if `url` is not one that SQLite understands.
pub(super) fn connect_options(url: &str) -> Result<SqliteConnectOptions, StoreError> {
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
        // The checkpointer does it, and sees when it fails.
        .pragma("wal_autocheckpoint", "0")
        .pragma("journal_size_limit", LOG_BYTES_KEPT)
        .pragma("cache_size", CACHE_SIZE_KIB))
}

async fn readers(options: SqliteConnectOptions) -> Result<SqlitePool, sqlx::Error> {
    SqlitePoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(BUSY_TIMEOUT)
        .connect_with(options)
        .await
}

/// A commit that does not wait for the disk is a lie to EvoLink: refuses a connection that would tell one.
async fn assert_durable(connection: &mut SqliteConnection) -> Result<(), sqlx::Error> {
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
    Ok(())
}

fn unusable(reason: String) -> sqlx::Error {
    sqlx::Error::Configuration(reason.into())
}

fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let mut parts = text.split('.').map(|part| part.parse().ok());
    Some((parts.next()??, parts.next()??, parts.next()??))
}

fn cannot_open_database(path: &Path, error: StoreError) -> StoreError {
    match error {
        StoreError::Sql(error) => StoreError::CannotOpen {
            path: path.display().to_string(),
            reason: error.to_string(),
        },
        other => other,
    }
}

pub(super) fn migration_error(error: MigrateError) -> StoreError {
    match error {
        MigrateError::VersionMissing(version) => {
            StoreError::SchemaTooNew(format!("migration {version}"))
        }
        MigrateError::VersionMismatch(version) => StoreError::Damaged(format!(
            "migration {version} is not the one that was applied"
        )),
        MigrateError::Execute(error) | MigrateError::ExecuteMigration(error, _) => error.into(),
        other => sqlx::Error::Migrate(Box::new(other)).into(),
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
