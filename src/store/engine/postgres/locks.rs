//! Locks of other sessions during the start: how long it waits for them, and which one it waited
//! for.

use sqlx::{Executor as _, PgConnection};
use tokio::time::timeout;

use super::server::{CONNECT_TIMEOUT, PostgresServer};
use super::tables::tables;
use crate::store::StoreError;

/// Our transactions end within seconds, so a lock that is held for longer than this is not ours.
const WAIT_S: u64 = 10;

/// Limits each statement.
pub const BOUNDED: &str = "SET lock_timeout = '10s'; SET statement_timeout = '10s'";

/// Limits the wait for a lock only. A migration may rewrite a large table.
pub const BOUNDED_WAITS: &str = "SET lock_timeout = '10s'; SET statement_timeout = 0";

/// No limit.
pub const UNBOUNDED: &str = "SET lock_timeout = 0; SET statement_timeout = 0";

/// The strongest lock of another session on one of the tables.
const HOLDER: &str = "SELECT pg_locks.pid, pg_locks.mode, pg_class.relname::text FROM pg_locks
        JOIN pg_class ON pg_class.oid = pg_locks.relation
    WHERE pg_locks.granted AND pg_locks.pid <> pg_backend_pid() AND pg_class.relname = ANY($1)
        AND pg_locks.database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND pg_locks.mode NOT IN ('AccessShareLock', 'RowShareLock')
    ORDER BY pg_locks.mode <> 'AccessExclusiveLock', pg_locks.mode = 'RowExclusiveLock', 3 LIMIT 1";

/// Returns `error`, or the lock that made a statement of `connection` exceed its limit.
pub async fn explain(
    server: &PostgresServer,
    connection: &mut PgConnection,
    error: StoreError,
) -> StoreError {
    if !matches!(error, StoreError::TooSlow) {
        return error;
    }
    let looking = async {
        // The statement may have failed within a transaction.
        connection.execute("ROLLBACK").await?;
        let holder: Option<(i32, String, String)> = sqlx::query_as(HOLDER)
            .bind(tables())
            .fetch_optional(&mut *connection)
            .await?;
        Ok::<_, sqlx::Error>(holder)
    };
    let holder = timeout(CONNECT_TIMEOUT, looking).await;
    let reason = match holder {
        Ok(Ok(Some((process, mode, table)))) => format!(
            "server process {process} holds {mode} on table {table} for longer than {WAIT_S} s: wait until it has ended, or run \
             SELECT pg_terminate_backend({process})"
        ),
        _ => format!(
            "a statement of the start took longer than {WAIT_S} s: a lock or the server's disk holds it up"
        ),
    };
    server.cannot_open(reason)
}
