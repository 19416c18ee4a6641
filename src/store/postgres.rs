//! PostgreSQL: connections that can be relied on, the schema, and what carries wake-ups between replicas.
//!
//! PgBouncer in front must be in session mode: prepared statements and LISTEN belong to a session.

use std::str::FromStr;
use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, PgConnection, PgPool};
use tokio::time::timeout;
use tracing::warn;

use super::error::shown;
use super::schema::{APPLIED, Schema, migration_error};
use super::wake::Wake;
use super::{StoreError, epochs};

/// The schema, step by step.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Connections that answer questions.
const READERS: u32 = 8;

/// A server that does not let us in by then is as good as not there.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);

/// A connection may be lost without a word. After so much silence another is made.
const SILENCE_MAX: Duration = Duration::from_mins(1);

/// How long a whole batch may take. Callbacks wait for it and for the one before, and EvoLink hangs up at 10 s.
pub(super) const BATCH_TIMEOUT: Duration = Duration::from_secs(4);

/// The update makes recorders take turns: the second waits here until the first has committed. It is an update, not a mere
/// lock, so that a server that isolates more strictly than it is told refuses the transaction, and never lets it
/// go on from what it saw before its turn.
///
/// `synchronous_commit` is set in each transaction, because the server's own value may change while
/// we are connected. What is set here holds until the commit. `off` is raised to `on`; any other
/// value waits for the disk and stays. `fsync` and `full_page_writes` are the server's alone, so we
/// can only look at them.
pub(super) const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true);
    UPDATE recorder_turn SET taken = taken + 1 WHERE id = 1;
    SELECT (SELECT max(seq) FROM task), (SELECT max(seq) FROM event),
        current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on'";

/// Waits for the write lock as a batch does, and fails where the server is read-only. The row is locked and not
/// updated, so that no dead row is left behind, however often it is asked.
pub(super) const PROBE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT 1 FROM recorder_turn WHERE id = 1 FOR UPDATE; ROLLBACK";

pub(super) const NOTIFY: &str = "NOTIFY evolink_receiver";

/// Notices are for people at a terminal. Every question of ours is answered from an index, in its order: a plan that is made
/// while the tables are small, and kept for good, must do so too. It is short, and to compile it for what it might cost over
/// millions of rows takes longer than to run it.
const SESSION: &str =
    "SET client_min_messages = error; SET jit = off; SET plan_cache_mode = force_generic_plan;
    SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
    SET enable_hashjoin = off; SET enable_mergejoin = off";

/// A recorder that was cut off or frozen in its turn must not hold up the others for long.
const WRITER: &str = "SET statement_timeout = '4s'; SET idle_in_transaction_session_timeout = '3s'";

const READER: &str = "SET default_transaction_read_only = on; SET statement_timeout = '5s';
    SET idle_in_transaction_session_timeout = '5s'";

/// A database on a PostgreSQL server.
#[derive(Clone, Debug)]
pub(super) struct PostgresServer {
    options: PgConnectOptions,
}

/// # Errors
/// `CannotOpen` if the server does not let us in, `SchemaTooNew`, `SchemaDiffers`.
pub(super) async fn open(url: &str) -> Result<(PgPool, PostgresServer), StoreError> {
    let server = PostgresServer::parse(url)?;
    let mut connection = server.connect().await?;
    for name in careless_settings(&mut connection).await? {
        warn!(
            "the PostgreSQL server runs with {name}=off: a power cut loses callbacks that were acknowledged"
        );
    }
    let schema = schema(&mut connection).await?;
    // The right to create tables is needed only where there is something to create.
    if !schema.is_current() {
        schema.announce();
        // Replicas that start at once wait for each other here, by an advisory lock of the driver.
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(|error| migration_error(error, &MIGRATIONS))?;
    }
    epochs::settle_postgres(&mut connection).await?;
    let pool = PgPoolOptions::new()
        .max_connections(READERS)
        .acquire_timeout(CONNECT_TIMEOUT)
        .after_connect(|connection, _| {
            Box::pin(async move {
                connection.execute(SESSION).await?;
                connection.execute(READER).await.map(drop)
            })
        })
        // A future that was dropped while it began a transaction leaves it open (RELIABILITY F1).
        .after_release(|connection, _| {
            Box::pin(async move { connection.execute("ROLLBACK").await.map(|_| true) })
        })
        .connect_lazy_with(server.options.clone());
    Ok((pool, server))
}

impl PostgresServer {
    /// # Errors
    /// `CannotOpen` if `url` is not one that the driver understands.
    pub(super) fn parse(url: &str) -> Result<Self, StoreError> {
        let options = PgConnectOptions::from_str(url).map_err(|error| StoreError::CannotOpen {
            path: "the PostgreSQL server".to_owned(),
            reason: shown(&error),
        })?;
        let options = options
            .application_name("evolink-receiver")
            .disable_statement_logging();
        Ok(Self { options })
    }

    pub(super) async fn connect(&self) -> Result<PgConnection, StoreError> {
        let refused = |reason: String| StoreError::CannotOpen {
            path: self.name(),
            reason,
        };
        let connecting = async {
            let mut connection = self.options.connect().await?;
            connection.execute(SESSION).await?;
            Ok(connection)
        };
        match timeout(CONNECT_TIMEOUT, connecting).await {
            Ok(connected) => connected.map_err(|error: sqlx::Error| refused(shown(&error))),
            Err(_) => Err(refused(format!("no answer within {CONNECT_TIMEOUT:?}"))),
        }
    }

    /// # Errors
    /// `CannotOpen` if the server does not let us in.
    pub(super) async fn connect_writer(&self) -> Result<PgConnection, StoreError> {
        let mut connection = self.connect().await?;
        connection.execute(WRITER).await?;
        epochs::settle_postgres(&mut connection).await?;
        Ok(connection)
    }

    /// Passes on every notification to `wake`; returns when the connection is lost, or silent for so long that it may be.
    pub(super) async fn listen(&self, wake: &Wake) -> Result<(), StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(self.options.clone());
        let mut listener = PgListener::connect_with(&pool).await?;
        listener.listen(super::wake::CHANNEL).await?;
        listener.eager_reconnect(false);
        // What was recorded before is not announced again.
        wake.tell();
        while timeout(SILENCE_MAX, listener.try_recv())
            .await
            .unwrap_or(Ok(None))?
            .is_some()
        {
            wake.tell();
        }
        Ok(())
    }

    /// Host and database, without the password.
    pub(super) fn name(&self) -> String {
        let options = &self.options;
        let database = options.get_database().unwrap_or(options.get_username());
        match options.get_socket() {
            Some(folder) => format!("postgres database {database} in {}", folder.display()),
            None => format!(
                "postgres database {database} at {}:{}",
                options.get_host(),
                options.get_port()
            ),
        }
    }
}

/// # Errors
/// `SchemaTooNew`, `SchemaDiffers`, or what keeps it from being read.
pub(super) async fn schema(connection: &mut PgConnection) -> Result<Schema, StoreError> {
    const TABLE: &str = "SELECT to_regclass('_sqlx_migrations') IS NOT NULL";
    let is_ours: bool = sqlx::query_scalar(TABLE)
        .fetch_one(&mut *connection)
        .await?;
    let applied = if is_ours {
        sqlx::query_as(APPLIED).fetch_all(connection).await?
    } else {
        Vec::new()
    };
    Schema::of(&applied, &MIGRATIONS)
}

/// Settings by which the server does not wait for its disk, whatever we ask of it.
pub(super) async fn careless_settings(
    connection: &mut PgConnection,
) -> Result<Vec<&'static str>, sqlx::Error> {
    let mut careless = Vec::new();
    for name in ["fsync", "full_page_writes"] {
        if setting(connection, name).await? == "off" {
            careless.push(name);
        }
    }
    Ok(careless)
}

async fn setting(connection: &mut PgConnection, name: &str) -> Result<String, sqlx::Error> {
    sqlx::query_scalar("SELECT current_setting($1)")
        .bind(name)
        .fetch_one(connection)
        .await
}
