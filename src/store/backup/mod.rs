//! Backups: a consistent copy of a store, and how it is restored.
//!
//! The commands `backup` and `restore` call this module. It knows files and databases, but not the
//! configuration.

pub mod copy;
pub mod draft;
pub mod manifest;
pub mod place;

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use sqlx::{ConnectOptions as _, Connection as _, Executor as _, PgConnection};

use super::engine::postgres;
use super::epochs::begin_sqlite;
use super::{Location, StoreError, epochs};
use crate::domain::event::id::Epoch;
use crate::store::engine::postgres::{PostgresServer, locks};
use crate::store::engine::schema::migration_error;
use crate::store::engine::sqlite::files;
use crate::store::engine::sqlite::mark::{Log, Mark};
use crate::store::engine::sqlite::{MIGRATIONS, connect_options};
use place::staged;

/// Prepares the copy at `copy` for use as a store: upgrades its schema and begins a new epoch.
/// Writes the high-water mark for a database at `target`. Both files are still staged.
///
/// # Errors
/// `SchemaTooNew`, `Damaged`, or an error of the disk.
pub async fn prepare(copy: &Path, target: &Path) -> Result<Epoch, StoreError> {
    let url = format!("sqlite:{}", copy.display());
    // With a rollback journal, nothing stays beside the file after the connection is closed.
    let options = connect_options(&url)?
        .journal_mode(sqlx::sqlite::SqliteJournalMode::Delete)
        .create_if_missing(false);
    let mut connection = options.connect().await?;
    MIGRATIONS
        .run(&mut connection)
        .await
        .map_err(|error| migration_error(error, &MIGRATIONS))?;
    let epoch = begin_sqlite(&mut connection).await?;
    let mark = Mark::of(&mut connection, Log::FoldedIn, epoch).await?;
    connection.close().await?;
    mark.write_to(copy, &staged(&super::engine::sqlite::mark::file(target)))?;
    Ok(epoch)
}

/// Returns the file of a SQLite store, or `None` on PostgreSQL.
///
/// # Errors
/// `CannotOpen` if SQLite does not understand `url`.
pub fn database_file(url: &str) -> Result<Option<PathBuf>, StoreError> {
    if super::is_postgres(url) {
        return Ok(None);
    }
    let given = connect_options(url)?.get_filename().to_owned();
    // The companion files lie beside the real file, so symlinks are resolved. If the folder does
    // not exist yet, the path is already the real one.
    Ok(Some(files::real_path(&given).unwrap_or(given)))
}

/// Begins a new epoch in a store. A SQLite store must not be in use.
///
/// # Errors
/// `InUse`, `CannotOpen`, and errors of the database.
pub async fn begin_epoch(location: &Location) -> Result<Epoch, StoreError> {
    let url = location.url.expose_secret();
    if super::is_postgres(url) {
        const TABLE: &str = "SELECT to_regclass('event') IS NOT NULL";
        let server = PostgresServer::new(location)?;
        let mut connection = server.connect().await?;
        let is_there: bool = sqlx::query_scalar(TABLE).fetch_one(&mut connection).await?;
        if !is_there {
            // Tables created now would conflict with a dump that is restored later.
            return Err(StoreError::CannotOpen {
                path: server.name().to_owned(),
                reason: "it has no tables of this program: restore the database first".to_owned(),
            });
        }
        let begun = begin_on_server(&mut connection).await;
        let epoch = match begun {
            Ok(epoch) => epoch,
            Err(error) => return Err(locks::explain(&server, &mut connection, error).await),
        };
        connection.close().await?;
        return Ok(epoch);
    }
    let path = connect_options(url)?.get_filename().to_owned();
    if !path.exists() {
        return Err(StoreError::CannotOpen {
            path: path.display().to_string(),
            reason: "there is no such database".to_owned(),
        });
    }
    // Opening the store makes all checks of a start. The mark keeps the previous epoch, which the
    // store has had.
    let store = super::Store::open(location.clone()).await?;
    let epoch = store.begin_epoch().await;
    store.close().await;
    epoch
}

async fn begin_on_server(connection: &mut PgConnection) -> Result<Epoch, StoreError> {
    connection.execute(locks::BOUNDED).await?;
    // A role of few rights may not upgrade the schema. It need not if the schema is current.
    if !postgres::migrations::schema(connection).await?.is_current() {
        postgres::migrate(connection).await?;
    }
    epochs::begin_postgres(connection).await
}

/// Counts other processes of this program that are connected to the PostgreSQL database.
///
/// # Errors
/// `CannotOpen`, and errors of the database.
pub async fn connected(location: &Location) -> Result<i64, StoreError> {
    const SQL: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'evolink-receiver' AND pid <> pg_backend_pid()";
    let mut connection = PostgresServer::new(location)?.connect().await?;
    let connected = sqlx::query_scalar(SQL).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(connected)
}
