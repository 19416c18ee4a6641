//! The requirements for a database, checked before anything is written to it. The start and `check`
//! share these checks, so that both find the same.

use sqlx::{Executor as _, PgConnection};

use super::migrations::schema;
use super::objects::Names;
use super::server::PostgresServer;
use super::settings::non_durable_settings;
use super::tables::{LOCK_SHORTLY, NEEDED, OF_ONE_ROW, tables};
use super::{locks, transaction_pooling};
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

/// Examines the database of a new connection. Returns a connection to it, which may be another one,
/// and whose statements are bounded in time (`locks::BOUNDED`).
///
/// # Errors
/// `Unsuitable` or `CannotOpen` with the obstacle to a start; `SchemaTooNew`, `SchemaDiffers`.
pub async fn examine(
    server: &PostgresServer,
    connection: PgConnection,
) -> Result<(Examined, PgConnection), StoreError> {
    let examining = async {
        let (is_transaction_pooled, mut connection) =
            transaction_pooling::is_transaction_pooled(server, connection).await?;
        if is_transaction_pooled {
            return Err(unsuitable(server, transaction_pooling::REASON));
        }
        connection.execute(locks::BOUNDED).await?;
        let found = examine_session(server, &mut connection).await;
        match found {
            Ok(examined) => Ok((examined, connection)),
            Err(error) => Err(locks::explain(server, &mut connection, error).await),
        }
    };
    examining.await.map_err(|error| explain(server, error))
}

/// Explains the error of a statement that a pooler sent to another session.
pub fn explain(server: &PostgresServer, error: StoreError) -> StoreError {
    if transaction_pooling::is_cause_of(&error) {
        return unsuitable(server, transaction_pooling::REASON);
    }
    error
}

async fn examine_session(
    server: &PostgresServer,
    connection: &mut PgConnection,
) -> Result<Examined, StoreError> {
    takes_writes(server, connection).await?;
    let place = schema_in_use(server, connection).await?;
    may_read_schema(server, connection).await?;
    let mut found = schema(connection).await?;
    loop {
        let refusal = match suits(server, connection, &place, found).await {
            Ok(()) => break,
            Err(refusal @ StoreError::Unsuitable { .. }) => refusal,
            Err(error) => return Err(error),
        };
        // Another replica may have upgraded the schema meanwhile. What it created is ours.
        let now = schema(connection).await?;
        if now == found {
            return Err(refusal);
        }
        found = now;
    }
    let schema = found;
    let careless = non_durable_settings(connection).await?;
    let clock_ahead = clock_ahead(connection).await?;
    Ok(Examined {
        schema,
        careless,
        clock_ahead,
    })
}

/// Checks whether this role can use the database, or upgrade it from `schema`.
async fn suits(
    server: &PostgresServer,
    connection: &mut PgConnection,
    place: &str,
    schema: Schema,
) -> Result<(), StoreError> {
    if schema.is_current() {
        may_use(server, connection).await?;
        sees_all_rows(server, connection).await?;
        connection.execute(LOCK_SHORTLY).await?;
        return has_its_rows(server, connection).await;
    }
    // Before the first start, a table with one of our names is another program's.
    if schema.version.is_some() {
        owns_tables(server, connection, schema).await?;
    }
    can_create(server, connection, place, schema).await
}

async fn clock_ahead(connection: &mut PgConnection) -> Result<i64, sqlx::Error> {
    const SQL: &str = "SELECT extract(epoch FROM clock_timestamp())::bigint";
    let theirs: i64 = sqlx::query_scalar(SQL).fetch_one(connection).await?;
    Ok(Clock::System.now().as_millis() / 1000 - theirs)
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

/// Checks that row-level security hides none of our rows from this role, and refuses none.
async fn sees_all_rows(
    server: &PostgresServer,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    const SQL: &str = "SELECT name FROM unnest($1::text[]) AS ours(name)
        WHERE row_security_active(to_regclass(name)::oid) ORDER BY 1 LIMIT 1";
    let hidden: Option<String> = sqlx::query_scalar(SQL)
        .bind(tables())
        .fetch_optional(connection)
        .await?;
    match hidden {
        None => Ok(()),
        Some(table) => Err(unsuitable(
            server,
            &format!(
                "row-level security of table {table} applies to this role, and hides or refuses rows: run ALTER TABLE {table} \
                 DISABLE ROW LEVEL SECURITY"
            ),
        )),
    }
}

/// Checks that the tables of one row have it: without it, nothing is locked or counted.
async fn has_its_rows(
    server: &PostgresServer,
    connection: &mut PgConnection,
) -> Result<(), StoreError> {
    const SQL: &str = "SELECT EXISTS (SELECT FROM recorder_turn WHERE id = 1),
        EXISTS (SELECT FROM quarantine_total WHERE id = 1)";
    let (turn, total): (bool, bool) = sqlx::query_as(SQL).fetch_one(connection).await?;
    let found = OF_ONE_ROW.into_iter().zip([turn, total]);
    match found.into_iter().find(|(_, is_there)| !is_there) {
        None => Ok(()),
        Some((table, _)) => Err(unsuitable(
            server,
            &format!("{table} has no row: restore the database"),
        )),
    }
}

/// Checks that what the migrations create does not exist yet, that the role may create it, and that
/// its language exists.
async fn can_create(
    server: &PostgresServer,
    connection: &mut PgConnection,
    place: &str,
    schema: Schema,
) -> Result<(), StoreError> {
    const MAY_CREATE: &str = "SELECT has_schema_privilege(current_schema(), 'CREATE')";
    const LANGUAGE: &str = "SELECT EXISTS (SELECT FROM pg_language WHERE lanname = 'plpgsql'
        AND has_language_privilege(oid, 'USAGE'))";
    let names = Names::after(schema.version);
    if let Some((kind, name)) = names.taken(&mut *connection).await? {
        let reason = format!(
            "{kind} {name} exists already in schema {place}, and is not of this program: name a database of its own in \
             store.url"
        );
        return Err(unsuitable(server, &reason));
    }
    let may_create: bool = sqlx::query_scalar(MAY_CREATE)
        .fetch_one(&mut *connection)
        .await?;
    if !may_create {
        let reason = format!(
            "this role lacks the right to CREATE in schema {place}, and the start has tables to make: run GRANT CREATE ON SCHEMA \
             {place} TO this role, or start once as the owner"
        );
        return Err(unsuitable(server, &reason));
    }
    let has_language: bool = sqlx::query_scalar(LANGUAGE).fetch_one(connection).await?;
    if names.is_plpgsql_needed && !has_language {
        let reason = "the language plpgsql is missing, or this role may not use it, and the start has triggers to make: run \
                      CREATE EXTENSION plpgsql";
        return Err(unsuitable(server, reason));
    }
    Ok(())
}

/// Checks that the role owns the tables that migrations change.
async fn owns_tables(
    server: &PostgresServer,
    connection: &mut PgConnection,
    schema: Schema,
) -> Result<(), StoreError> {
    const OF_OTHERS: &str = "SELECT relname::text FROM pg_class WHERE oid IN (
            SELECT to_regclass(name)::oid FROM unnest($1::text[]) AS ours(name))
        AND NOT pg_has_role(relowner, 'USAGE') ORDER BY 1 LIMIT 1";
    let of_others: Option<String> = sqlx::query_scalar(OF_OTHERS)
        .bind(tables())
        .fetch_optional(connection)
        .await?;
    let Some(table) = of_others else {
        return Ok(());
    };
    let (from, to) = (schema.version.unwrap_or(0), schema.newest);
    let reason = format!(
        "this role does not own table {table}, and the start has to upgrade the schema from {from} to {to}: start this \
         version once as the owner of the tables"
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
