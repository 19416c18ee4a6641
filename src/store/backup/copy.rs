//! Copies a SQLite store, whether or not a service has it open.
//!
//! Everything is read through SQLite on a read-only connection. The copy is one snapshot that
//! includes the write-ahead log. The log is neither folded in nor removed, and the service's own
//! lock is not needed.

use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};
use tokio::time::interval;

use super::manifest::{Engine, Stored};
use crate::domain::event::id::Epoch;
use crate::store::engine::postgres;
use crate::store::engine::sqlite::locks::check_names;
use crate::store::engine::sqlite::{MIGRATIONS, connect_options};
use crate::store::engine::sqlite::{expected, files};
use crate::store::epochs::has_had_epochs;
use crate::store::{Location, StoreError};

/// The interval between two progress reports.
const REPORT_EVERY: Duration = Duration::from_millis(100);

/// How long a reader waits for a checkpoint of the service.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);

const NEWEST: &str =
    "SELECT coalesce((SELECT max(seq) FROM task), 0), coalesce((SELECT max(seq) FROM event), 0)";
const EPOCH: &str = "SELECT name FROM epoch ORDER BY number DESC LIMIT 1";

/// Copies the database of `url` into the new file `copy`, with everything acknowledged before the
/// call. `report` receives the bytes written so far and about how many there will be.
///
/// # Errors
/// `CannotOpen`; `Damaged` if the copy is behind the high-water mark or not consistent;
/// `SchemaTooNew`.
pub async fn sqlite(
    url: &str,
    copy: &Path,
    report: impl Fn(u64, u64),
) -> Result<Stored, StoreError> {
    let path = connect_options(url)?.get_filename().to_owned();
    // Read before the copy is made, so that the copy must have come at least as far.
    let mark = expected::check_files(&path)?;
    if !path.exists() {
        return Err(StoreError::CannotOpen {
            path: path.display().to_string(),
            reason: "there is no such database".to_owned(),
        });
    }
    // Opened under another name, the database would silently lack what is only in the log.
    check_names(&path)?;
    files::make_file(copy).map_err(|error| files::cannot_open(copy, &error))?;
    let mut source = read_only(&path).connect().await?;
    let expected = size_of(&mut source).await?;
    copy_into(&mut source, copy, |written| report(written, expected)).await?;
    source.close().await?;
    let mut reader = read_only(copy).immutable(true).connect().await?;
    let stored = look(&mut reader).await?;
    if let Some(mark) = mark {
        mark.check_rows(&path, &mut reader).await?;
    }
    reader.close().await?;
    Ok(stored)
}

/// Reads the state of the PostgreSQL database of `url`.
///
/// # Errors
/// `CannotOpen`, `SchemaTooNew`, and errors of the database.
pub async fn look_at_postgres(location: &Location) -> Result<Stored, StoreError> {
    const TABLE: &str = "SELECT to_regclass('epoch') IS NOT NULL";
    const SCHEMA: &str = "SELECT max(version) FROM _sqlx_migrations";
    let mut connection = postgres::PostgresServer::new(location)?.connect().await?;
    let has_epochs: bool = sqlx::query_scalar(TABLE).fetch_one(&mut connection).await?;
    let mut stored = Stored {
        engine: Engine::Postgres,
        schema: None,
        epoch: None,
        newest_task: 0,
        newest_event: 0,
    };
    if has_epochs {
        stored.schema = known(
            sqlx::query_scalar(SCHEMA)
                .fetch_one(&mut connection)
                .await?,
            newest(&postgres::migrations::MIGRATIONS),
        )?;
        (stored.newest_task, stored.newest_event) =
            sqlx::query_as(NEWEST).fetch_one(&mut connection).await?;
        let epoch: Option<String> = sqlx::query_scalar(EPOCH)
            .fetch_optional(&mut connection)
            .await?;
        stored.epoch = epoch.as_deref().and_then(Epoch::parse);
    }
    connection.close().await?;
    Ok(stored)
}

/// Reads the state of a copied SQLite database, after a consistency check.
///
/// # Errors
/// `Damaged`, `SchemaTooNew`.
pub async fn look_at_copy(copy: &Path) -> Result<Stored, StoreError> {
    let mut reader = read_only(copy).immutable(true).connect().await?;
    let stored = look(&mut reader).await?;
    reader.close().await?;
    Ok(stored)
}

async fn look(reader: &mut SqliteConnection) -> Result<Stored, StoreError> {
    const TABLES: &str =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('task', 'event')";
    const SCHEMA: &str = "SELECT max(version) FROM _sqlx_migrations";
    let tables: i64 = sqlx::query_scalar(TABLES).fetch_one(&mut *reader).await?;
    if tables != 2 {
        return Err(StoreError::Damaged(
            "it has no tables of this program".to_owned(),
        ));
    }
    let schema: Option<i64> = sqlx::query_scalar(SCHEMA).fetch_one(&mut *reader).await?;
    let schema = known(schema, newest(&MIGRATIONS))?;
    let faults: Vec<String> = sqlx::query_scalar("PRAGMA quick_check(1)")
        .fetch_all(&mut *reader)
        .await?;
    if faults != ["ok"] {
        return Err(StoreError::Damaged(faults.join(", ")));
    }
    let (newest_task, newest_event) = sqlx::query_as(NEWEST).fetch_one(&mut *reader).await?;
    let epoch: Option<String> = if has_had_epochs(reader).await? {
        sqlx::query_scalar(EPOCH).fetch_optional(reader).await?
    } else {
        None
    };
    Ok(Stored {
        engine: Engine::Sqlite,
        schema,
        epoch: epoch.as_deref().and_then(Epoch::parse),
        newest_task,
        newest_event,
    })
}

fn newest(migrations: &sqlx::migrate::Migrator) -> i64 {
    migrations
        .iter()
        .map(|step| step.version)
        .max()
        .unwrap_or_default()
}

fn known(schema: Option<i64>, newest: i64) -> Result<Option<i64>, StoreError> {
    match schema {
        Some(schema) if schema > newest => Err(StoreError::SchemaTooNew {
            found: schema,
            newest,
        }),
        schema => Ok(schema),
    }
}

fn read_only(path: &Path) -> SqliteConnectOptions {
    SqliteConnectOptions::new()
        .filename(path)
        .read_only(true)
        .busy_timeout(BUSY_TIMEOUT)
        .disable_statement_logging()
}

async fn size_of(source: &mut SqliteConnection) -> Result<u64, sqlx::Error> {
    const SQL: &str = "SELECT (page_count - freelist_count) * page_size
        FROM pragma_page_count, pragma_freelist_count, pragma_page_size";
    let bytes: i64 = sqlx::query_scalar(SQL).fetch_one(source).await?;
    Ok(u64::try_from(bytes).unwrap_or_default())
}

/// Copies in one transaction, which sees what was committed before it and nothing later.
async fn copy_into(
    source: &mut SqliteConnection,
    copy: &Path,
    report: impl Fn(u64),
) -> Result<(), StoreError> {
    let name = copy.to_str().ok_or_else(|| StoreError::CannotOpen {
        path: copy.display().to_string(),
        reason: "its name is not Unicode".to_owned(),
    })?;
    let copying = sqlx::query("VACUUM INTO $1").bind(name).execute(source);
    tokio::pin!(copying);
    let mut reports = interval(REPORT_EVERY);
    loop {
        tokio::select! {
            copied = &mut copying => return Ok(copied.map(drop)?),
            _ = reports.tick() => report(std::fs::metadata(copy).map_or(0, |copy| copy.len())),
        }
    }
}
