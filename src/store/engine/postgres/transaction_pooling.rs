//! Detects a pooler in transaction or statement mode. Prepared statements, session settings and
//! LISTEN do not work behind it.

use sqlx::{Connection as _, PgConnection, Row as _, raw_sql};
use tokio::time::{Instant, sleep};

use super::server::{CONNECT_TIMEOUT, PostgresServer, RETRY_AFTER};
use crate::pauses::growing_until;
use crate::store::StoreError;

/// How often two sessions are compared. Other programs use the pooler too, and may take the
/// connection that the second session would have shown.
const COMPARISONS: u32 = 3;

pub const REASON: &str = "a pooler in front is in transaction or statement mode: PgBouncer must be in session \
     mode (pool_mode = session, with its server_reset_query), or store.url must name the server itself";

/// SQLSTATE `duplicate_prepared_statement` and `invalid_sql_statement_name`.
const NOT_OUR_STATEMENT: [&str; 2] = ["42P05", "26000"];

/// Returns whether `error` says that a prepared statement is not the one of this session.
pub fn is_cause_of(error: &StoreError) -> bool {
    let StoreError::Sql(error) = error else {
        return false;
    };
    let code = error
        .as_database_error()
        .and_then(sqlx::error::DatabaseError::code);
    code.is_some_and(|code| NOT_OUR_STATEMENT.contains(&&*code))
}

/// Returns whether a pooler lends the connection, and a session to go on with.
pub async fn is_transaction_pooled(
    server: &PostgresServer,
    mut connection: PgConnection,
) -> Result<(bool, PgConnection), StoreError> {
    if has_statements(&mut connection).await? {
        return Ok((true, connection));
    }
    match server.connect().await {
        Ok(other) => {
            let is_transaction_pooled = share_a_process(&mut connection, other).await?;
            Ok((is_transaction_pooled, connection))
        }
        Err(StoreError::NoConnectionLeft { .. }) => leaves_settings(server, connection).await,
        Err(error) => Err(error),
    }
}

/// Returns whether a new session has prepared statements already, which a previous one left.
async fn has_statements(connection: &mut PgConnection) -> Result<bool, sqlx::Error> {
    let row = raw_sql("SELECT count(*) FROM pg_prepared_statements").fetch_one(connection);
    let statements: i64 = row.await?.try_get(0)?;
    Ok(statements > 0)
}

/// Compares two sessions. On a server, and behind a pooler in session mode, they always have two
/// processes, and each keeps its own.
async fn share_a_process(
    connection: &mut PgConnection,
    mut other: PgConnection,
) -> Result<bool, StoreError> {
    let own = process(connection).await?;
    let mut is_transaction_pooled = false;
    for _ in 0..COMPARISONS {
        let others = process(&mut other).await?;
        is_transaction_pooled |= others == own || process(connection).await? != own;
    }
    other.close().await?;
    Ok(is_transaction_pooled)
}

/// Compares two sessions of which the second begins when the first has ended, because there is only
/// one connection for this process. Settings end with their session, unless a pooler lends the
/// connection: it does not reset it.
async fn leaves_settings(
    server: &PostgresServer,
    mut connection: PgConnection,
) -> Result<(bool, PgConnection), StoreError> {
    let mark = format!("{:016x}", fastrand::u64(..));
    let set = format!("SET evolink_receiver.session = '{mark}'");
    raw_sql(sqlx::AssertSqlSafe(set))
        .execute(&mut connection)
        .await?;
    connection.close().await?;
    let mut next = connect_again(server).await?;
    let row = raw_sql("SELECT current_setting('evolink_receiver.session', true)");
    let found: Option<String> = row.fetch_one(&mut next).await?.try_get(0)?;
    Ok((found == Some(mark), next))
}

/// Connects. The slot of the session that has just ended may be free only after a moment.
async fn connect_again(server: &PostgresServer) -> Result<PgConnection, StoreError> {
    let deadline = Instant::now() + CONNECT_TIMEOUT;
    let mut pauses = growing_until(deadline, RETRY_AFTER, CONNECT_TIMEOUT);
    loop {
        let connected = server.connect().await;
        let is_refused = matches!(connected, Err(StoreError::NoConnectionLeft { .. }));
        let Some(pause) = pauses.next().filter(|_| is_refused) else {
            return connected;
        };
        sleep(pause).await;
    }
}

/// Returns the server process of a session. Uses no prepared statement, because a lent connection
/// may not keep one.
async fn process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row = raw_sql("SELECT pg_backend_pid()").fetch_one(connection);
    row.await?.try_get(0)
}
