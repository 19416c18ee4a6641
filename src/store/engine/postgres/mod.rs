//! PostgreSQL: connections with bounded waits, the schema, and LISTEN/NOTIFY between replicas.
//!
//! A PgBouncer in front must be in session mode: prepared statements and LISTEN belong to a
//! session.

pub mod address;
pub mod examine;
mod gate;
pub mod locks;
pub mod migrations;
mod objects;
mod readers;
mod server;
mod settings;
mod tables;
mod transaction_pooling;

use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use sqlx::{Connection as _, Executor as _, PgConnection};
use tokio::time::{Instant, sleep, timeout};
use tracing::warn;

use super::schema::{Schema, migration_error};
use crate::pauses::growing_until;
use crate::store::{Location, StoreError, epochs};
pub use examine::examine;
use migrations::MIGRATIONS;
pub use readers::Readers;
pub use server::PostgresServer;
use server::{CONNECT_TIMEOUT, RETRY_AFTER};

/// The clock difference in seconds above which a warning is logged. NTP keeps clocks within a
/// fraction of a second.
const CLOCKS_APART_S: i64 = 10;

/// Connections of a process that do not read: one writes, one listens.
const OTHERS: u32 = 2;

/// A connection attempt that takes longer may be waiting in a pooler's queue.
const QUEUED_AFTER: Duration = Duration::from_millis(500);

/// The update is the recorders' write lock: the second recorder waits here until the first has
/// committed. It is an update, not only a lock. So a server with a stricter isolation level than
/// requested refuses the transaction. It cannot continue with a snapshot from before the lock.
///
/// `synchronous_commit` is set in each transaction, because the server's own value may change while
/// we are connected. The value set here holds until the commit. `off` is raised to `on`; any other
/// value waits for the disk and stays. `fsync` and `full_page_writes` are settings of the server
/// only, so we can only read them.
///
/// Without its row the update locks nothing, so the last statement fails. SQL has no statement that
/// fails with a text of our own, but the name of a missing table is quoted.
pub const BEGIN: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT set_config('synchronous_commit',
        CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true);
    UPDATE recorder_turn SET taken = taken + 1 WHERE id = 1;
    SELECT (SELECT max(seq) FROM task), (SELECT max(seq) FROM event), pg_relation_filenode('event')::bigint,
        current_setting('fsync') = 'on' AND current_setting('full_page_writes') = 'on',
        CASE WHEN NOT EXISTS (SELECT FROM recorder_turn WHERE id = 1)
            THEN quote_ident('recorder_turn has no row: restore the database')::regclass END";

/// Reads the newest event and the file of the table.
pub const EVENT_TABLE: &str = "SELECT max(seq), pg_relation_filenode('event')::bigint FROM event";

/// Waits for the locks that a batch needs, and fails where the server is read-only. The row is
/// locked and not updated, so that no dead row is left behind, however often this runs.
pub const PROBE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED;
    SELECT 1 FROM recorder_turn WHERE id = 1 FOR UPDATE;
    SELECT CASE WHEN NOT EXISTS (SELECT FROM recorder_turn WHERE id = 1)
        THEN quote_ident('recorder_turn has no row: restore the database')::regclass END;
    LOCK TABLE task, submit_end, observation, event, delivery, quarantine, quarantine_total, idempotency,
        unanswered_submit IN ROW EXCLUSIVE MODE;
    ROLLBACK";

pub const NOTIFY: &str = "NOTIFY evolink_receiver";

/// The connections of this process to one database. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Postgres {
    server: PostgresServer,
    readers: Readers,
}

/// # Errors
/// `CannotOpen` if the server refuses the login, `Unsuitable`, `SchemaTooNew`, `SchemaDiffers`.
pub async fn open(location: &Location) -> Result<Postgres, StoreError> {
    let server = PostgresServer::new(location)?;
    let connection = server.connect().await?;
    let (examined, mut connection) = examine(&server, connection).await?;
    for name in examined.careless {
        warn!(
            "the PostgreSQL server runs with {name}=off: a power cut loses callbacks that were acknowledged"
        );
    }
    let ahead = examined.clock_ahead;
    if ahead.abs() > CLOCKS_APART_S {
        warn!(
            seconds = ahead,
            "this machine's clock differs from the database server's by {ahead} s: set both by NTP; if the clocks of \
             replicas differ, a repeated submit may be sent twice"
        );
    }
    if let Err(error) = prepare(&mut connection, examined.schema).await {
        let error = locks::explain(&server, &mut connection, error).await;
        return Err(examine::explain(&server, error));
    }
    // The permanent connections may need its slot on the server.
    connection.close().await?;
    let readers = location.max_connections.saturating_sub(OTHERS);
    let readers = usize::try_from(readers).unwrap_or(usize::MAX);
    Ok(Postgres {
        readers: Readers::new(server.clone(), readers),
        server,
    })
}

/// Upgrades the schema and begins an epoch, if that is due.
async fn prepare(connection: &mut PgConnection, schema: Schema) -> Result<(), StoreError> {
    // The right to create tables is needed only where there is something to create.
    if !schema.is_current() {
        schema.announce();
        migrate(connection).await?;
    }
    epochs::settle_postgres(connection).await
}

/// Upgrades the schema. Bounds the waits for locks of other programs.
///
/// # Errors
/// `SchemaTooNew`, `SchemaDiffers`, or an error of a statement.
pub async fn migrate(connection: &mut PgConnection) -> Result<(), StoreError> {
    const WAIT_FOR_OTHERS: &str =
        "SELECT pg_advisory_lock(hashtext('evolink_receiver.migrations'))";
    const LET_OTHERS: &str = "SELECT pg_advisory_unlock(hashtext('evolink_receiver.migrations'))";
    // Replicas that start at once wait for each other here, for as long as a migration takes. The
    // driver has such a lock too, but its wait would be bounded as any other.
    connection.execute(locks::UNBOUNDED).await?;
    connection.execute(WAIT_FOR_OTHERS).await?;
    connection.execute(locks::BOUNDED_WAITS).await?;
    MIGRATIONS
        .run(&mut *connection)
        .await
        .map_err(|error| migration_error(error, &MIGRATIONS))?;
    connection.execute(LET_OTHERS).await?;
    connection.execute(locks::BOUNDED).await?;
    Ok(())
}

impl Postgres {
    pub fn readers(&self) -> &Readers {
        &self.readers
    }

    pub fn server(&self) -> &PostgresServer {
        &self.server
    }

    /// Opens the connection that writes, before any reader opens another. Where the server has no
    /// connection left, readers close theirs.
    ///
    /// # Errors
    /// `NoConnectionLeft` if others have all connections, `CannotOpen` if the server refuses the
    /// login.
    pub async fn connect_writer(&self) -> Result<PgConnection, StoreError> {
        let _held_back = self.readers.hold_back();
        let deadline = Instant::now() + CONNECT_TIMEOUT;
        let mut pauses = growing_until(deadline, RETRY_AFTER, CONNECT_TIMEOUT);
        loop {
            let connected = self.connect_or_queue().await;
            let is_refused = matches!(connected, Err(StoreError::NoConnectionLeft { .. }));
            let Some(pause) = pauses.next().filter(|_| is_refused) else {
                self.readers.keep();
                return connected;
            };
            self.readers.give_back().await;
            // The server needs a moment to end the session.
            sleep(pause).await;
        }
    }

    /// Connects, or waits in PgBouncer's queue: it accepts every client and then makes it wait for
    /// a connection to the server.
    async fn connect_or_queue(&self) -> Result<PgConnection, StoreError> {
        let mut connecting = std::pin::pin!(self.server.connect_writer());
        if let Ok(connected) = timeout(QUEUED_AFTER, &mut connecting).await {
            return connected;
        }
        self.readers.give_back().await;
        connecting.await
    }

    /// Opens the listener's connection. The driver's pool retries while the server has no
    /// connection left. Meanwhile a reader closes one.
    async fn connect_listener(&self) -> Result<PgListener, StoreError> {
        let pool = PgPoolOptions::new()
            .max_connections(1)
            .acquire_timeout(CONNECT_TIMEOUT)
            .connect_lazy_with(self.server.options_in_time().await?);
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

    /// Connects, and listens to the other replicas.
    pub async fn listen(&self) -> Result<PgListener, StoreError> {
        let mut listener = self.connect_listener().await?;
        timeout(
            CONNECT_TIMEOUT,
            listener.listen(crate::store::wake::CHANNEL),
        )
        .await
        .map_err(|_| StoreError::TooSlow)??;
        listener.eager_reconnect(false);
        Ok(listener)
    }
}
