//! PostgreSQL: connections that can be relied on, the schema, and what carries wake-ups between replicas.
//!
//! PgBouncer in front must be in session mode: prepared statements and LISTEN belong to a session.

mod examine;
mod gate;
mod readers;
mod server;

use std::time::Duration;

use sqlx::migrate::Migrator;
use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Connection as _, PgConnection};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

pub(super) use self::examine::examine;
pub(super) use self::readers::Readers;
use self::server::CONNECT_TIMEOUT;
pub(super) use self::server::PostgresServer;
use super::schema::{APPLIED, Schema, migration_error};
use super::wake::Wake;
use super::{Location, StoreError, epochs};

/// The schema, step by step.
pub(super) static MIGRATIONS: Migrator = sqlx::migrate!("migrations/postgres");

/// Connections of a process that do not read: one writes, one listens.
const OTHERS: u32 = 2;

/// A writer that the server refuses tries again after this time, then after twice as long.
const RETRY_AFTER: Duration = Duration::from_millis(20);

/// A connection that is not there by then may wait in a pooler's queue for a place.
const QUEUED_AFTER: Duration = Duration::from_millis(500);

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

/// Waits for the locks that a batch needs, and fails where the server is read-only. The row is locked
/// and not updated, so that no dead row is left behind, however often this runs.
pub(super) const PROBE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT 1 FROM recorder_turn WHERE id = 1 FOR UPDATE;
    LOCK TABLE task, observation, event, delivery, quarantine, idempotency, unanswered_submit IN ROW EXCLUSIVE MODE;
    ROLLBACK";

pub(super) const NOTIFY: &str = "NOTIFY evolink_receiver";

/// The connections of this process to one database. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Postgres {
    server: PostgresServer,
    readers: Readers,
}

/// # Errors
/// `CannotOpen` if the server does not let us in, `Unsuitable`, `SchemaTooNew`, `SchemaDiffers`.
pub(super) async fn open(location: &Location) -> Result<Postgres, StoreError> {
    let server = PostgresServer::new(location)?;
    let mut connection = server.connect().await?;
    let examined = examine(&server, &mut connection).await?;
    for name in examined.careless {
        warn!(
            "the PostgreSQL server runs with {name}=off: a power cut loses callbacks that were acknowledged"
        );
    }
    // The right to create tables is needed only where there is something to create.
    if !examined.schema.is_current() {
        examined.schema.announce();
        // Replicas that start at once wait for each other here, by an advisory lock of the driver.
        MIGRATIONS
            .run(&mut connection)
            .await
            .map_err(|error| migration_error(error, &MIGRATIONS))?;
    }
    epochs::settle_postgres(&mut connection).await?;
    // Its place is needed for the connections that stay.
    connection.close().await?;
    let readers = location.max_connections.saturating_sub(OTHERS);
    let readers = usize::try_from(readers).unwrap_or(usize::MAX);
    Ok(Postgres {
        readers: Readers::new(server.clone(), readers),
        server,
    })
}

impl Postgres {
    pub(super) fn readers(&self) -> &Readers {
        &self.readers
    }

    pub(super) fn server(&self) -> &PostgresServer {
        &self.server
    }

    /// Opens the connection that writes, before any reader opens another. Where the server has no
    /// connection left, readers give theirs back.
    ///
    /// # Errors
    /// `NoConnectionLeft` if others have all connections, `CannotOpen` if the server does not let us
    /// in.
    pub(super) async fn connect_writer(&self) -> Result<PgConnection, StoreError> {
        let _held_back = self.readers.hold_back();
        let (deadline, mut retry_after) = (Instant::now() + CONNECT_TIMEOUT, RETRY_AFTER);
        loop {
            let connected = self.connect_or_queue().await;
            let is_refused = matches!(connected, Err(StoreError::NoConnectionLeft { .. }));
            if !is_refused || Instant::now() + retry_after > deadline {
                self.readers.keep();
                return connected;
            }
            self.readers.give_back().await;
            // The server needs a moment to end the session.
            sleep(retry_after).await;
            retry_after *= 2;
        }
    }

    /// PgBouncer lets everybody in, and then has them wait for a connection to the server.
    async fn connect_or_queue(&self) -> Result<PgConnection, StoreError> {
        let mut connecting = std::pin::pin!(self.server.connect_writer());
        if let Ok(connected) = timeout(QUEUED_AFTER, &mut connecting).await {
            return connected;
        }
        self.readers.give_back().await;
        connecting.await
    }

    /// The driver's pool asks a server again that has no connection left. Meanwhile a reader gives
    /// one back.
    async fn connect_listener(&self) -> Result<PgListener, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(self.server.options()?);
        let _held_back = self.readers.hold_back();
        let mut connecting = std::pin::pin!(PgListener::connect_with(&pool));
        let connected = if let Ok(connected) = timeout(QUEUED_AFTER, &mut connecting).await {
            connected
        } else {
            self.readers.give_back().await;
            connecting.await
        };
        self.readers.keep();
        Ok(connected?)
    }

    /// Passes on every notification to `wake`; returns when the connection is lost, or silent for so long that it may be.
    pub(super) async fn listen(&self, wake: &Wake) -> Result<(), StoreError> {
        let mut listener = self.connect_listener().await?;
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
