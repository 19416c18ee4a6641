//! The requirements for a database, checked before anything is written to it. The start and `check`
//! share these checks, so that both find the same.

use sqlx::{Connection as _, PgConnection, Row as _, raw_sql};

use super::server::PostgresServer;
use super::{careless_settings, schema};
use crate::clock::Clock;
use crate::store::StoreError;
use crate::store::engine::schema::Schema;

/// A database that this program can use.
pub struct Examined {
    pub schema: Schema,
    /// Settings by which the server does not wait for its disk.
    pub careless: Vec<&'static str>,
    /// Seconds by which this machine's clock is ahead of the server's.
    pub clock_ahead: i64,
}

/// The rights that the statements of this program need on each table.
const NEEDED: [(&str, &[&str]); 15] = [
    ("_sqlx_migrations", &["SELECT"]),
    ("callback_key", &["SELECT", "INSERT"]),
    ("delivery", &["SELECT", "INSERT", "UPDATE"]),
    ("endpoint", &["SELECT", "INSERT", "DELETE"]),
    ("endpoint_gone", &["SELECT", "INSERT", "DELETE"]),
    ("epoch", &["SELECT", "INSERT"]),
    ("event", &["SELECT", "INSERT"]),
    ("idempotency", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("observation", &["SELECT", "INSERT"]),
    ("quarantine", &["SELECT", "INSERT", "UPDATE", "DELETE"]),
    ("quarantine_total", &["SELECT", "UPDATE"]),
    ("recorder_turn", &["SELECT", "UPDATE"]),
    ("submit_end", &["SELECT", "INSERT"]),
    ("task", &["SELECT", "INSERT", "UPDATE"]),
    (
        "unanswered_submit",
        &["SELECT", "INSERT", "UPDATE", "DELETE"],
    ),
];

/// How often two sessions are compared. Other programs use the pooler too, and may take the
/// connection that the second session would have shown.
const COMPARISONS: u32 = 3;

/// # Errors
/// `Unsuitable` or `CannotOpen` with the obstacle to a start; `SchemaTooNew`, `SchemaDiffers`.
pub async fn examine(
    server: &PostgresServer,
    connection: &mut PgConnection,
) -> Result<Examined, StoreError> {
    if is_lent(server, connection).await? {
        return Err(unsuitable(
            server,
            "a pooler in front lends a connection for one transaction or statement only: PgBouncer must be in session mode \
             (pool_mode = session), or store.url must name the server itself",
        ));
    }
    takes_writes(server, connection).await?;
    let place = schema_in_use(server, connection).await?;
    may_read_schema(server, connection).await?;
    let schema = schema(connection).await?;
    if schema.is_current() {
        may_use(server, connection).await?;
    } else {
        may_upgrade(server, connection, &place, schema).await?;
    }
    let careless = careless_settings(connection).await?;
    let clock_ahead = clock_ahead(connection).await?;
    Ok(Examined {
        schema,
        careless,
        clock_ahead,
    })
}

/// Returns whether a pooler lends the connection to others while we do not use it. On a server, and
/// behind a pooler in session mode, two sessions always have two processes, and each keeps its own.
async fn is_lent(
    server: &PostgresServer,
    connection: &mut PgConnection,
) -> Result<bool, StoreError> {
    let mut other = match server.connect().await {
        Ok(other) => other,
        // Whether a second connection is available is not checked here.
        Err(StoreError::NoConnectionLeft { .. }) => return Ok(false),
        Err(error) => return Err(error),
    };
    let own = process(connection).await?;
    let mut is_lent = false;
    for _ in 0..COMPARISONS {
        let others = process(&mut other).await?;
        is_lent |= others == own || process(connection).await? != own;
    }
    other.close().await?;
    Ok(is_lent)
}

async fn clock_ahead(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    const SQL: &str = "SELECT extract(epoch FROM clock_timestamp())::bigint";
    let theirs: i64 = sqlx::query_scalar(SQL).fetch_one(connection).await?;
    Ok(Clock::System.now().as_millis() / 1000 - theirs)
}

/// Returns the server process of a session. Uses no prepared statement, because a lent connection
/// may not keep one.
async fn process(connection: &mut PgConnection) -> Result<i32, sqlx::Error> {
    let row = raw_sql("SELECT pg_backend_pid()").fetch_one(connection);
    row.await?.try_get(0)
}

async fn takes_writes(
    server: &PostgresServer,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    const SQL: &str =
        "SELECT pg_is_in_recovery(), current_setting('default_transaction_read_only') = 'on'";
    let (is_standby, is_read_only): (bool, bool) =
        sqlx::query_as(SQL).fetch_one(connection).await?;
    if is_standby {
        let reason = "it is a standby, which takes no writes: store.url must name the primary";
        return Err(server.cannot_open(reason.to_owned()));
    }
    if is_read_only {
        let reason = "default_transaction_read_only is on for this role, database or server, so nothing can be written: remove \
                      that setting, or use another role";
        return Err(server.cannot_open(reason.to_owned()));
    }
    Ok(())
}

/// Returns the first schema of `search_path` that exists and that the role may use.
async fn schema_in_use(
    server: &PostgresServer,
    connection: &mut PgConnection,
) -> Result<String, StoreError> {
    const SQL: &str = "SELECT current_schema()::text, current_setting('search_path')";
    let (place, path): (Option<String>, String) = sqlx::query_as(SQL).fetch_one(connection).await?;
    place.ok_or_else(|| {
        let reason = format!(
            "search_path ({path}) names no schema that is there and that this role may use: create one, or run GRANT USAGE ON \
             SCHEMA of it TO this role"
        );
        unsuitable(server, &reason)
    })
}

/// Checks the right to read which migrations were applied, if there is such a table.
async fn may_read_schema(
    server: &PostgresServer,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    const SQL: &str = "SELECT coalesce(has_table_privilege(to_regclass('_sqlx_migrations')::oid, 'SELECT'), true)";
    let may_read: bool = sqlx::query_scalar(SQL).fetch_one(connection).await?;
    if may_read {
        Ok(())
    } else {
        Err(lacks(server, "SELECT", "_sqlx_migrations"))
    }
}

async fn may_use(server: &PostgresServer, connection: &mut PgConnection) -> Result<(), StoreError> {
    const SQL: &str = "SELECT needed.name, needed.privilege FROM unnest($1::text[], $2::text[]) AS needed(name, privilege)
        WHERE NOT coalesce(has_table_privilege(to_regclass(needed.name)::oid, needed.privilege), false)
        ORDER BY 1, 2 LIMIT 1";
    let each = NEEDED
        .iter()
        .flat_map(|(name, privileges)| privileges.iter().map(|privilege| (*name, *privilege)));
    let (names, privileges): (Vec<&str>, Vec<&str>) = each.unzip();
    let missing: Option<(String, String)> = sqlx::query_as(SQL)
        .bind(names)
        .bind(privileges)
        .fetch_optional(connection)
        .await?;
    match missing {
        None => Ok(()),
        Some((table, privilege)) => Err(lacks(server, &privilege, &table)),
    }
}

/// Checks that the role owns the tables that migrations change and may create new ones.
async fn may_upgrade(
    server: &PostgresServer,
    connection: &mut PgConnection,
    place: &str,
    schema: Schema,
) -> Result<(), StoreError> {
    const OF_OTHERS: &str = "SELECT relname::text FROM pg_class WHERE oid IN (
            SELECT to_regclass(name)::oid FROM unnest($1::text[]) AS ours(name))
        AND NOT pg_has_role(relowner, 'USAGE') ORDER BY 1 LIMIT 1";
    const MAY_CREATE: &str = "SELECT has_schema_privilege(current_schema(), 'CREATE')";
    let names: Vec<&str> = NEEDED.iter().map(|(name, _)| *name).collect();
    let of_others: Option<String> = sqlx::query_scalar(OF_OTHERS)
        .bind(names)
        .fetch_optional(&mut *connection)
        .await?;
    if let Some(table) = of_others {
        let (from, to) = (schema.version.unwrap_or(0), schema.newest);
        let reason = format!(
            "this role does not own table {table}, and the start has to upgrade the schema from {from} to {to}: start this \
             version once as the owner of the tables"
        );
        return Err(unsuitable(server, &reason));
    }
    let may_create: bool = sqlx::query_scalar(MAY_CREATE).fetch_one(connection).await?;
    if may_create {
        return Ok(());
    }
    let reason = format!(
        "this role lacks the right to CREATE in schema {place}, and the start has tables to make: run GRANT CREATE ON SCHEMA \
         {place} TO this role, or start once as the owner"
    );
    Err(unsuitable(server, &reason))
}

fn lacks(server: &PostgresServer, privilege: &str, table: &str) -> StoreError {
    let reason = format!(
        "this role lacks the right to {privilege} on {table}: run GRANT {privilege} ON {table} TO this role"
    );
    unsuitable(server, &reason)
}

fn unsuitable(server: &PostgresServer, reason: &str) -> StoreError {
    StoreError::Unsuitable {
        path: server.name().to_owned(),
        reason: reason.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::store::engine::postgres::MIGRATIONS;

    #[test]
    fn every_table_of_the_migrations_is_listed() {
        let mut tables = BTreeSet::from(["_sqlx_migrations"]);
        for migration in MIGRATIONS.iter() {
            let text = migration.sql.as_str();
            let made = text.split("CREATE TABLE ").skip(1);
            tables.extend(made.filter_map(|rest| rest.split([' ', '(']).next()));
        }
        let listed: BTreeSet<&str> = NEEDED.iter().map(|(name, _)| *name).collect();
        assert_eq!(listed, tables);
    }
}
