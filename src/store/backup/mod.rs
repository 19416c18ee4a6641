//! Backups: a consistent copy of a store, and how it gets back into place.
//!
//! The commands `backup` and `restore` call this; it knows files and databases, and nothing of the
//! configuration.

pub mod copy;
pub mod manifest;
pub mod place;

use std::path::{Path, PathBuf};

use secrecy::ExposeSecret as _;
use sqlx::{ConnectOptions as _, Connection as _};

use super::epochs::begin_sqlite;
use super::files;
use super::mark::{Log, Mark};
use super::postgres::PostgresServer;
use super::schema::migration_error;
use super::sqlite::{MIGRATIONS, connect_options};
use super::{Location, StoreError, epochs, postgres};
use crate::domain::event_id::Epoch;
use place::staged;

/// Makes the copy at `copy` a store of its own: brings its schema up to date and begins a new
/// epoch. Writes its high-water mark for a database at `target`, both staged.
///
/// # Errors
/// `SchemaTooNew`, `Damaged`, or what the disk says.
pub async fn prepare(copy: &Path, target: &Path) -> Result<Epoch, StoreError> {
    let url = format!("sqlite:{}", copy.display());
    // A rollback journal leaves nothing beside the file when the connection is closed.
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
    mark.write_to(copy, &staged(&super::mark::file(target)))?;
    Ok(epoch)
}

/// The file of a SQLite store; `None` on PostgreSQL.
///
/// # Errors
/// `CannotOpen` if `url` is not one that SQLite understands.
pub fn database_file(url: &str) -> Result<Option<PathBuf>, StoreError> {
    if super::is_postgres(url) {
        return Ok(None);
    }
    let given = connect_options(url)?.get_filename().to_owned();
    // What belongs to the database lies beside the file itself. A folder that does not exist yet
    // has no other name.
    Ok(Some(files::real_path(&given).unwrap_or(given)))
}

/// Begins a new epoch in a store. A SQLite store must not be in use.
///
/// # Errors
/// `InUse`, `CannotOpen`, and what the database says.
pub async fn begin_epoch(location: &Location) -> Result<Epoch, StoreError> {
    let url = location.url.expose_secret();
    if super::is_postgres(url) {
        const TABLE: &str = "SELECT to_regclass('event') IS NOT NULL";
        let server = PostgresServer::new(location)?;
        let mut connection = server.connect().await?;
        let is_there: bool = sqlx::query_scalar(TABLE).fetch_one(&mut connection).await?;
        if !is_there {
            // Tables that are made now would be in the way of a dump.
            return Err(StoreError::CannotOpen {
                path: server.name().to_owned(),
                reason: "it has no tables of this program: restore the database first".to_owned(),
            });
        }
        postgres::MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(|error| migration_error(error, &postgres::MIGRATIONS))?;
        let epoch = epochs::begin_postgres(&mut connection).await?;
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
    // With all the checks of a start. The mark keeps the epoch before, which the store has had.
    let store = super::Store::open(location.clone()).await?;
    let epoch = store.begin_epoch().await;
    store.close().await;
    epoch
}

/// Other processes of this program that are connected to the PostgreSQL database.
///
/// # Errors
/// `CannotOpen`, and what the database says.
pub async fn connected(location: &Location) -> Result<i64, StoreError> {
    const SQL: &str = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name = 'evolink-receiver' AND pid <> pg_backend_pid()";
    let mut connection = PostgresServer::new(location)?.connect().await?;
    let connected = sqlx::query_scalar(SQL).fetch_one(&mut connection).await?;
    connection.close().await?;
    Ok(connected)
}
