//! The start of a SQLite store: the checks, and then the writes, in this order.
//!
//! Before anything is written, space can be freed: on a full disk the reserve is released, and the
//! log is folded into the database. A complete and current store is served even if nothing can be
//! written.

use std::fs;
use std::mem::ManuallyDrop;
use std::path::Path;

use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool};
use tracing::{info, warn};

use super::checkpointer::READERS_WAIT;
use super::expected::{Expected, Rows, check_database};
use super::files::{cannot_open, journal_file};
use super::mark::{Log, Mark};
use super::open_files::OpenFiles;
use super::reserve_file;
use super::{
    BUSY_TIMEOUT, MIGRATIONS, SqliteFile, cannot_open_database, look_options, readers, schema,
    set_busy_timeout, truncate_log,
};
use crate::domain::event::id::Epoch;
use crate::files::sync_folder;
use crate::store::engine::schema::migration_error;
use crate::store::{StoreError, epochs};

impl SqliteFile {
    /// Checks the database, upgrades its schema, and opens the pool of readers.
    pub async fn prepare(
        &self,
        folder: &Path,
        expected: Option<Expected>,
    ) -> Result<SqlitePool, StoreError> {
        let path = self.path();
        self.check(expected).await?;
        let mut connection = self
            .connect_writer()
            .await
            .map_err(|error| cannot_open_database(path, error))?;
        self.fold_in_what_was_left(&mut connection).await?;
        let epoch = self.upgrade(&mut connection, expected).await?;
        // The files' directory entries must survive a power cut as surely as their content.
        sync_folder(folder).map_err(|error| cannot_open(path, &error))?;
        let mut anchor = self.reader_options().connect().await?;
        let mark = Mark::of(&mut anchor, Log::Needed, epoch).await?;
        self.keep_open_files(&mut anchor, expected).await?;
        *self.anchor.lock().await = Some(ManuallyDrop::new(anchor));
        self.locks.check_place(path)?;
        match self.write_mark(&mark) {
            Err(StoreError::Full) => {
                warn!(
                    "the disk is full: callbacks and submits are answered 503 until there is space"
                );
            }
            written => written?,
        }
        let pool = readers(self.reader_options()).await?;
        connection.close().await?;
        Ok(pool)
    }

    /// Checks rows and schema. The connection is read-only, so a database that is refused is not
    /// changed.
    async fn check(&self, expected: Option<Expected>) -> Result<(), StoreError> {
        let path = self.path();
        if journal_file(path).exists() {
            roll_back(path)
                .await
                .map_err(|error| cannot_open_database(path, error.into()))?;
        }
        if fs::metadata(path).is_ok_and(|found| found.len() == 0) {
            return Ok(());
        }
        // Even a reader creates an empty log, unless the file is immutable to it. A start that is
        // refused must not hide from the next one that the log is missing.
        let misses_log = expected.is_some_and(|expected| expected.misses_log);
        let opened = look_options(path).immutable(misses_log).connect().await;
        let mut reader = opened.map_err(|error| cannot_open_database(path, error.into()))?;
        if check_database(expected, path, &mut reader).await? == Rows::AllThereWithoutLog {
            warn!(
                "the write-ahead log is missing, but no row is that the high-water mark counts: another program closed the \
                 database after this one stopped, or deleted its log"
            );
        }
        schema(&mut reader).await?;
        Ok(reader.close().await?)
    }

    /// Folds in the log of a process that did not end cleanly, so that its space is freed. If there
    /// is no space for that either, the log stays.
    async fn fold_in_what_was_left(
        &self,
        connection: &mut SqliteConnection,
    ) -> Result<(), StoreError> {
        let bytes = self.log_bytes();
        if bytes == 0 {
            return Ok(());
        }
        // Another program may read the log for long. The checkpointer folds it in later.
        set_busy_timeout(connection, READERS_WAIT).await?;
        let mut folded_in = truncate_log(connection).await;
        if matches!(folded_in, Err(StoreError::Full)) && reserve_file::remove(self.path()) {
            warn!(
                "the disk is full: the reserve file is released to fold the write-ahead log into the database"
            );
            folded_in = truncate_log(connection).await;
        }
        set_busy_timeout(connection, BUSY_TIMEOUT).await?;
        match folded_in {
            Ok(true) => info!(
                bytes,
                "folded a write-ahead log of {bytes} bytes into the database"
            ),
            Ok(false) => {}
            Err(error) if error.is_fatal() => return Err(error),
            Err(error) => {
                warn!(error = %error, "the write-ahead log could not be folded into the database");
            }
        }
        Ok(())
    }

    /// Upgrades the schema. Returns the current epoch.
    async fn upgrade(
        &self,
        connection: &mut SqliteConnection,
        expected: Option<Expected>,
    ) -> Result<Epoch, StoreError> {
        let schema = schema(connection).await?;
        if !schema.is_current() {
            schema.announce();
            MIGRATIONS
                .run(&mut *connection)
                .await
                .map_err(|error| migration_error(error, &MIGRATIONS))?;
        }
        if let Some(epoch) = self.epoch() {
            return Ok(epoch);
        }
        // Without a mark, or if the file is not the one of the mark, the store was put back by
        // hand.
        let is_restored = expected.is_none_or(|expected| expected.is_of_other_file(self.path()));
        let epoch = epochs::settle_sqlite(connection, is_restored).await?;
        Ok(*self.epoch.get_or_init(|| epoch))
    }

    /// Remembers which files SQLite has open. From now on the anchor keeps the log and its index in
    /// place.
    async fn keep_open_files(
        &self,
        anchor: &mut SqliteConnection,
        expected: Option<Expected>,
    ) -> Result<(), StoreError> {
        if self.files.get().is_some() {
            return Ok(());
        }
        let stamp: i32 = sqlx::query_scalar("PRAGMA user_version")
            .fetch_one(anchor)
            .await?;
        let synced = expected.and_then(|expected| expected.stamp());
        let files = OpenFiles::new(self.path(), &self.given, self.locks.clone(), stamp, synced)?;
        let _ = self.files.set(files);
        Ok(())
    }
}

/// Undoes an unfinished write of a killed process, made before the database had a write-ahead log.
/// A read-only connection refuses to read such a database.
async fn roll_back(path: &Path) -> Result<(), sqlx::Error> {
    let mut connection = look_options(path).read_only(false).connect().await?;
    sqlx::query("SELECT count(*) FROM sqlite_schema")
        .execute(&mut connection)
        .await?;
    connection.close().await
}
