//! The connection that writes, and its transactions. It is the recorder's alone. After any error it is closed and not used
//! again: whatever state the driver or the server believe it to be in, nothing later can be written into an old
//! transaction (RELIABILITY F1).

use std::io;
use std::time::Duration;

use sqlx::{
    Connection as _, Executor as _, PgConnection, Row as _, SqliteConnection, query, raw_sql,
};
use tokio::time::timeout;

use super::{Database, StoreError, postgres, sqlite};

/// A wake-up that takes longer is not worth the wait of the next batch.
const NOTIFY_TIMEOUT: Duration = Duration::from_secs(1);

/// PostgreSQL rolls back what a connection had begun when it sees it close, so nobody has to wait for that.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

pub enum Writer {
    Sqlite(SqliteConnection),
    Postgres(PgConnection),
}

/// The numbers that were given last; 0 where there is none.
#[derive(Clone, Copy, Debug)]
pub struct Last {
    pub task: i64,
    pub event: i64,
    /// Whether the database waits for its disk. A SQLite connection that does not is never used.
    pub is_durable: bool,
}

/// One statement text and its binds, checked against both drivers.
macro_rules! on_writer {
    ($writer:expr, $connection:ident => $body:expr) => {
        match $writer {
            $crate::store::writer::Writer::Sqlite($connection) => $body.await,
            $crate::store::writer::Writer::Postgres($connection) => $body.await,
        }
    };
}
pub(super) use on_writer;

impl Writer {
    pub async fn connect(database: &Database) -> Result<Self, StoreError> {
        match database {
            Database::Sqlite(file) => file.connect_writer().await.map(Self::Sqlite),
            Database::Postgres(server) => server.connect_writer().await.map(Self::Postgres),
        }
    }

    /// Begins a transaction that no other recorder's can overtake. Tells the numbers from which the
    /// recorder counts on: nobody else gives any before its end.
    pub async fn begin(&mut self) -> Result<Last, sqlx::Error> {
        // In one call: the price is per call.
        let (task, event, is_durable): (Option<i64>, Option<i64>, bool) = match self {
            Self::Sqlite(connection) => {
                // Parsed once.
                let rows = query(sqlite::BEGIN).fetch_all(connection).await?;
                let last = rows.last().ok_or(sqlx::Error::RowNotFound)?;
                (last.try_get(0)?, last.try_get(1)?, true)
            }
            Self::Postgres(connection) => {
                let rows = raw_sql(postgres::BEGIN).fetch_all(connection).await?;
                let last = rows.last().ok_or(sqlx::Error::RowNotFound)?;
                (last.try_get(0)?, last.try_get(1)?, last.try_get(2)?)
            }
        };
        Ok(Last {
            task: task.unwrap_or(0),
            event: event.unwrap_or(0),
            is_durable,
        })
    }

    /// Tells other processes that something was recorded.
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

    /// Closes the connection, and with it a transaction that is open.
    pub async fn close(self) {
        let closed = match self {
            // A second connection could not write before the first has rolled back.
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
