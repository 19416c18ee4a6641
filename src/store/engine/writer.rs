//! The connection that writes, and its transactions. Only the recorder uses it. After any error it
//! is closed and not used again. So whatever state the driver or the server is in, nothing later
//! can be written into an old transaction (rule F1).

use std::io;
use std::time::Duration;

use sqlx::{
    Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection, query, raw_sql,
};
use tokio::time::timeout;

use super::{postgres, sqlite};
use crate::store::{Database, StoreError};

/// The time limit of a notification. A slower one is not worth the delay of the next batch.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// The time limit of closing a connection to PostgreSQL. The server rolls back when it sees the
/// connection close, so there is no need to wait.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub enum Writer {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The highest numbers in use; 0 if there are none.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    pub task: i64,
    pub events: EventTable,
    /// Whether the database waits for its disk. A SQLite connection that does not is never used.
    pub is_durable: bool,
}

/// The event log's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventTable {
    /// The newest event; 0 if there are none.
    pub newest: i64,
    /// The table's file on PostgreSQL, which a restored or truncated table does not share. 0 on
    /// SQLite.
    pub filenode: i64,
}

impl EventTable {
    /// Returns whether the log was set back since it was `before`.
    pub const fn was_rewound_since(self, before: Self) -> bool {
        self.newest < before.newest || self.filenode != before.filenode
    }
}

/// Runs one statement text with its binds on the connection of either driver, and compiles it for
/// both.
macro_rules! on_writer {
    ($writer:expr, $connection:ident => $body:expr) => {
        match $writer {
            $crate::store::engine::writer::Writer::Sqlite($connection) => $body.await,
            $crate::store::engine::writer::Writer::Postgres($connection) => $body.await,
        }
    };
}
pub(crate) use on_writer;

impl Writer {
    pub(in crate::store) async fn connect(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite(file) => file.connect_writer().await.map(Self::Sqlite),
            Database::Postgres(server) => server.connect_writer().await.map(Self::Postgres),
        }
    }

    /// Begins a transaction and takes the write lock. Returns the highest numbers in use. No other
    /// recorder assigns numbers before this transaction ends.
    pub async fn begin(&mut self) -> Result<Last, sqlx::Error> {
        // One call for all, because the cost is per call.
        let (task, event, filenode, is_durable): (Option<i64>, Option<i64>, i64, bool) = match self
        {
            Self::Sqlite(connection) => {
                // Prepared, so the text is parsed only once.
                let rows = query(sqlite::BEGIN).fetch_all(connection).await?;
                let last = rows.last().ok_or(sqlx::Error::RowNotFound)?;
                (last.try_get(0)?, last.try_get(1)?, 0, true)
            }
            Self::Postgres(connection) => {
                let rows = raw_sql(postgres::BEGIN).fetch_all(connection).await?;
                let last = rows.last().ok_or(sqlx::Error::RowNotFound)?;
                let (task, event) = (last.try_get(0)?, last.try_get(1)?);
                (task, event, last.try_get(2)?, last.try_get(3)?)
            }
        };
        Ok(Last {
            task: task.unwrap_or(0),
            events: EventTable {
                newest: event.unwrap_or(0),
                filenode,
            },
            is_durable,
        })
    }

    /// Takes the write lock and releases it, without a change.
    pub async fn probe(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(connection) => raw_sql(sqlite::PROBE).execute(connection).await.map(drop),
            Self::Postgres(connection) => {
                raw_sql(postgres::PROBE).execute(connection).await.map(drop)
            }
        }
    }

    /// Notifies other processes that something was recorded.
    pub async fn notify(&mut self) -> Result<(), sqlx::Error> {
        match self {
            Self::Sqlite(_) => Ok(()),
            Self::Postgres(connection) => {
                let notified = timeout(NOTIFY_TIMEOUT, connection.execute(postgres::NOTIFY)).await;
                notified
                    .unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()))
                    .map(drop)
            }
        }
    }

    /// Closes the connection, which rolls back an open transaction.
    pub async fn close(self) {
        let closed = match self {
            // SQLite must roll back before a second connection can write.
            Self::Sqlite(connection) => connection.close().await,
            Self::Postgres(connection) => timeout(CLOSE_TIMEOUT, connection.close_hard())
                .await
                .unwrap_or(Ok(())),
        };
        if let Err(error) = closed {
            tracing::debug!(error = %error, "a connection did not close well");
        }
    }
}
