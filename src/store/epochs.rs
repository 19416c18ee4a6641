//! The epochs of a store: which exist, and when a new one begins.
//!
//! A new epoch costs nothing and harms no reader, because ids of the previous one stay valid up to
//! its end. So one begins whenever events with the same ids may exist elsewhere. That is after a
//! restore, and when the database has moved (copied, put back by hand, failed over).

use sqlx::{Connection as _, PgConnection, SqliteConnection};
use tokio::time::timeout;
use tracing::info;

use super::engine;
use super::{Store, StoreError, on_pool};
use crate::clock::Clock;
use crate::domain::event::id::{Epoch, EpochStart, Epochs, EventId};

/// The epoch of the event whose `seq` is the given SQL expression. `number > 0` makes SQLite use
/// the key.
macro_rules! epoch_of {
    ($seq:literal) => {
        concat!(
            "(SELECT epoch.name FROM epoch WHERE epoch.number > 0 AND epoch.after_seq < ",
            $seq,
            " ORDER BY epoch.number DESC LIMIT 1)"
        )
    };
}
pub(super) use epoch_of;

/// The range of the event log and its epochs.
#[derive(Clone, Debug)]
pub struct LogState {
    pub epochs: Epochs,
    /// The oldest event kept; `None` if there are no events.
    pub oldest: Option<i64>,
    /// 0 if there are no events.
    pub newest: i64,
}

/// The end of the event log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct LogEnd {
    /// 0 if there are no events.
    pub newest: i64,
    /// The current epoch.
    pub epoch: Epoch,
}

const STATE: &str =
    "SELECT name, after_seq, (SELECT min(seq) FROM event), (SELECT max(seq) FROM event)
    FROM epoch WHERE number > 0 ORDER BY number";

const END: &str = "SELECT (SELECT max(seq) FROM event),
    (SELECT name FROM epoch WHERE number > 0 ORDER BY number DESC LIMIT 1)";

const OLDEST: &str = "SELECT min(seq) FROM event";

// In a store from before epochs existed, the first epoch includes all existing events.
const BEGIN: &str = "INSERT INTO epoch (number, name, after_seq, began_at, home)
    SELECT coalesce(max(number), 0) + 1, $1,
        CASE WHEN max(number) IS NULL THEN 0 ELSE coalesce((SELECT max(seq) FROM event), 0) END, $2, $3
    FROM epoch";

const CURRENT: &str = "SELECT name, home FROM epoch ORDER BY number DESC LIMIT 1";

/// Identifies where the database is. The parts are the cluster, its timeline (which changes with
/// each failover and point-in-time recovery), the database, the table (which `pg_restore --clean`
/// creates again), and the table's file (which TRUNCATE creates again).
const HOME: &str = "SELECT concat_ws('/', (SELECT system_identifier FROM pg_control_system()),
    left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (SELECT oid FROM pg_database WHERE datname = current_database()), 'event'::regclass::oid,
    pg_relation_filenode('event'))";

/// The same for a user who may not read the cluster's identifier.
const HOME_IN_CLUSTER: &str =
    "SELECT concat_ws('/', left(pg_walfile_name(pg_current_wal_lsn()), 8),
    (SELECT oid FROM pg_database WHERE datname = current_database()), 'event'::regclass::oid,
    pg_relation_filenode('event'))";

/// Asked first, because a refusal would end the transaction.
const MAY_READ_CLUSTER: &str = "SELECT has_function_privilege('pg_control_system()', 'EXECUTE')";

/// In this isolation level each statement sees what was committed before it, whatever the server's
/// default is.
const BEGIN_TRANSACTION: &str = "BEGIN ISOLATION LEVEL READ COMMITTED";

impl Store {
    pub async fn log_state(&self) -> Result<LogState, StoreError> {
        let rows: Vec<(String, i64, Option<i64>, Option<i64>)> =
            on_pool!(self, pool => sqlx::query_as(STATE).fetch_all(pool))?;
        let (mut oldest, mut newest, mut starts) = (None, None, Vec::with_capacity(rows.len()));
        for (name, after, first, last) in rows {
            (oldest, newest) = (first, last);
            starts.push(EpochStart {
                epoch: parse(&name)?,
                after,
            });
        }
        self.note_event_seen(newest.unwrap_or(0));
        Ok(LogState {
            epochs: Epochs::new(starts).ok_or_else(corrupt)?,
            oldest,
            newest: newest.unwrap_or(0),
        })
    }

    pub(super) async fn log_end(&self) -> Result<LogEnd, StoreError> {
        let (newest, name): (Option<i64>, Option<String>) =
            on_pool!(self, pool => sqlx::query_as(END).fetch_one(pool))?;
        self.note_event_seen(newest.unwrap_or(0));
        Ok(LogEnd {
            newest: newest.unwrap_or(0),
            epoch: parse(&name.unwrap_or_default())?,
        })
    }

    /// Checks that every event after `after` is still in the log. What was read of them before is
    /// then without a gap.
    ///
    /// # Errors
    /// `EventsDeleted`.
    pub(super) async fn check_kept(&self, after: i64) -> Result<(), StoreError> {
        let oldest: Option<i64> =
            on_pool!(self, pool => sqlx::query_scalar(OLDEST).fetch_one(pool))?;
        match oldest {
            Some(oldest) if oldest > after.saturating_add(1) => {
                Err(StoreError::EventsDeleted { oldest })
            }
            Some(_) | None => Ok(()),
        }
    }

    /// Returns the newest event, unless the epoch has changed since `epochs` were read.
    ///
    /// # Errors
    /// `EpochChanged`.
    pub(super) async fn newest_within(&self, epochs: &Epochs) -> Result<i64, StoreError> {
        let end = self.log_end().await?;
        if end.epoch == epochs.current() {
            Ok(end.newest)
        } else {
            Err(StoreError::EpochChanged)
        }
    }
}

/// Begins a new epoch if `is_restored`, or if the store has none yet. Returns the current epoch.
pub(super) async fn settle_sqlite(
    connection: &mut SqliteConnection,
    is_restored: bool,
) -> Result<Epoch, StoreError> {
    let current: Option<(String, Option<String>)> = sqlx::query_as(CURRENT)
        .fetch_optional(&mut *connection)
        .await?;
    match current {
        Some((name, _)) if !is_restored => parse(&name),
        _ => begin_sqlite(connection).await,
    }
}

/// Begins a new epoch. Returns it once it is on the disk.
pub async fn begin_sqlite(connection: &mut SqliteConnection) -> Result<Epoch, StoreError> {
    let epoch = Epoch::random();
    sqlx::query(BEGIN)
        .bind(epoch.as_str())
        .bind(Clock::System.now().as_millis())
        .bind(None::<&str>)
        .execute(connection)
        .await?;
    info!(%epoch, "the store begins the epoch {epoch}");
    Ok(epoch)
}

/// Returns whether the store has ever had `epoch`. A store from before epochs existed has had none.
pub(super) async fn has_had(
    epoch: Epoch,
    reader: &mut SqliteConnection,
) -> Result<bool, sqlx::Error> {
    const SQL: &str = "SELECT count(*) FROM epoch WHERE name = $1";
    if !has_had_epochs(reader).await? {
        return Ok(false);
    }
    let found: i64 = sqlx::query_scalar(SQL)
        .bind(epoch.as_str())
        .fetch_one(reader)
        .await?;
    Ok(found > 0)
}

/// Returns whether the schema of a store has epochs.
pub(super) async fn has_had_epochs(reader: &mut SqliteConnection) -> Result<bool, sqlx::Error> {
    const TABLE: &str =
        "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'epoch'";
    let tables: i64 = sqlx::query_scalar(TABLE).fetch_one(reader).await?;
    Ok(tables > 0)
}

/// Begins a new epoch if the store has none, or if the database has moved since the current one
/// began.
///
/// Every connection that writes calls this first. Most failovers and restores end every connection.
/// `recorder::rewind` notices the others.
pub(super) async fn settle_postgres(connection: &mut PgConnection) -> Result<(), StoreError> {
    let home = home(connection).await?;
    if is_at(connection, &home).await? {
        return Ok(());
    }
    let beginning = async {
        let mut transaction = connection.begin_with(BEGIN_TRANSACTION).await?;
        lock_postgres(&mut transaction).await?;
        // Another replica may have begun it meanwhile.
        if !is_at(&mut transaction, &home).await? {
            insert_postgres(&mut transaction, &home).await?;
        }
        Ok(transaction.commit().await?)
    };
    timeout(engine::BATCH_TIMEOUT, beginning)
        .await
        .unwrap_or(Err(StoreError::TooSlow))
}

/// Begins a new epoch unconditionally. Returns it once it is on the disk.
pub async fn begin_postgres(connection: &mut PgConnection) -> Result<Epoch, StoreError> {
    let home = home(connection).await?;
    let mut transaction = connection.begin_with(BEGIN_TRANSACTION).await?;
    lock_postgres(&mut transaction).await?;
    let epoch = insert_postgres(&mut transaction, &home).await?;
    transaction.commit().await?;
    Ok(epoch)
}

/// Begins a new epoch in the open transaction of a recorder.
pub(super) async fn begin_within(connection: &mut PgConnection) -> Result<Epoch, sqlx::Error> {
    let home = home(connection).await?;
    insert_postgres(connection, &home).await
}

async fn home(connection: &mut PgConnection) -> Result<String, sqlx::Error> {
    let may_read: bool = sqlx::query_scalar(MAY_READ_CLUSTER)
        .fetch_one(&mut *connection)
        .await?;
    let home = if may_read { HOME } else { HOME_IN_CLUSTER };
    sqlx::query_scalar(home).fetch_one(connection).await
}

async fn is_at(connection: &mut PgConnection, home: &str) -> Result<bool, sqlx::Error> {
    let current: Option<(String, Option<String>)> =
        sqlx::query_as(CURRENT).fetch_optional(connection).await?;
    Ok(current.and_then(|(_, at)| at).as_deref() == Some(home))
}

/// Blocks recorders from writing events until the transaction ends.
///
/// # Errors
/// `Unsuitable` if there is nothing to lock.
async fn lock_postgres(connection: &mut PgConnection) -> Result<(), StoreError> {
    const SQL: &str = "UPDATE recorder_turn SET taken = taken + 1 WHERE id = 1";
    let locked = sqlx::query(SQL).execute(connection).await?;
    if locked.rows_affected() == 1 {
        return Ok(());
    }
    Err(StoreError::Unsuitable {
        path: "the database".to_owned(),
        reason: "recorder_turn has no row: restore the database".to_owned(),
    })
}

async fn insert_postgres(connection: &mut PgConnection, home: &str) -> Result<Epoch, sqlx::Error> {
    let epoch = Epoch::random();
    sqlx::query(BEGIN)
        .bind(epoch.as_str())
        .bind(Clock::System.now().as_millis())
        .bind(home)
        .execute(connection)
        .await?;
    info!(%epoch, "the store begins the epoch {epoch}");
    Ok(epoch)
}

/// Returns the id of the event `seq`. `name` is the name of its epoch, from the row.
pub(super) fn event_id(name: Option<&str>, seq: i64) -> Result<EventId, StoreError> {
    let epoch = parse(name.unwrap_or_default())?;
    Ok(EventId { epoch, seq })
}

fn parse(name: &str) -> Result<Epoch, StoreError> {
    Epoch::parse(name).ok_or_else(corrupt)
}

const fn corrupt() -> StoreError {
    StoreError::Corrupt {
        table: "epoch",
        id: 0,
        column: "name",
    }
}
