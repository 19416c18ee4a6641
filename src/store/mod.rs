//! The store. One concrete `Store` over SQLite or PostgreSQL. All SQL of the program is below this
//! module, and each statement has one text for both databases.
//!
//! The `recorder` writes every change of a task. It owns the only connection that writes. The other
//! methods read, on connections that cannot write.

// How an entry gets to the disk and its receipt back to the caller.
pub mod recorder;

pub mod repeats;

// Queries.
pub mod read;

pub mod deliveries;

pub mod quarantine;

pub mod results;

pub mod key_use;

pub mod retention;

// Notifications of new events.
pub mod tail;

pub mod wake;

// The database itself.
pub mod engine;

pub mod epochs;

pub mod backup;

pub mod error;

use std::sync::OnceLock;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use secrecy::ExposeSecret as _;
use sqlx::{AssertSqlSafe, Connection as _, Executor as _, SqlitePool};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::domain::event::id::Epoch;
use crate::turns::{self, Turns};
pub use engine::location::{Location, MAX_CONNECTIONS};
use engine::sqlite::checkpointer::WriteAheadLog;
use engine::sqlite::open_files::OpenFiles;
use engine::sqlite::space::Space;
use engine::sqlite::with_file;
use engine::writer::{EventTable, Writer};
pub use error::StoreError;
use tail::Tail;
use wake::Wake;

/// How long a query may take. All are keyed or bounded in rows. So a slower one means that the
/// database has a problem, and an error is better than a longer wait.
const READ_TIMEOUT: Duration = Duration::from_secs(5);

/// The database of this process. Cheap to share behind an `Arc`.
#[derive(Debug)]
pub struct Store {
    read: ReadPool,
    /// One permit for each connection that reads.
    read_turns: Turns,
    database: Database,
    wake: Wake,
    tail: Tail,
    log: WriteAheadLog,
    /// The newest event that this process has read or written.
    newest_event: AtomicI64,
    space: Space,
    /// Why recording was disabled; set at most once.
    failure: OnceLock<String>,
}

/// The database to connect to.
#[derive(Clone, Debug)]
enum Database {
    Sqlite(Box<engine::sqlite::SqliteFile>),
    Postgres(engine::postgres::Postgres),
}

#[derive(Debug)]
enum ReadPool {
    Sqlite(SqlitePool),
    Postgres(engine::postgres::Readers),
}

/// Runs one statement text with its binds on the pool of either driver, and compiles it for both.
macro_rules! on_pool {
    ($store:expr, $pool:ident => $body:expr) => {{
        let reading = Box::pin(async {
            match &$store.read {
                $crate::store::ReadPool::Sqlite($pool) => {
                    $body.await.map_err($crate::store::StoreError::from)
                }
                $crate::store::ReadPool::Postgres(readers) => {
                    let mut reader = readers.acquire().await?;
                    reader
                        .ask(async |$pool| $body.await)
                        .await
                        .map_err($crate::store::StoreError::from)
                }
            }
        });
        $crate::store::read_in_turn(&$store.read_turns, reading).await
    }};
}
use on_pool;

impl Store {
    /// Opens a store, creates what is missing, and upgrades the schema.
    ///
    /// `sqlite:PATH`: the file stays locked until this process ends.
    /// `postgres://USER@HOST/DATABASE`: any number of processes may open it.
    ///
    /// # Errors
    /// `InUse` if another process has the file, `CannotOpen`, `Unsuitable`, `Damaged`,
    /// `SchemaTooNew`, `SchemaDiffers`.
    pub async fn open(location: impl Into<Location>) -> Result<Self, StoreError> {
        let location = location.into();
        let url = location.url.expose_secret();
        let (read, at_once, database) = if is_postgres(url) {
            let server = engine::postgres::open(&location).await?;
            let readers = server.readers().clone();
            let at_once = readers.most();
            let database = Database::Postgres(server);
            (ReadPool::Postgres(readers), at_once, database)
        } else {
            let (pool, file) = engine::sqlite::open(url).await?;
            let at_once = engine::sqlite::READERS as usize;
            let database = Database::Sqlite(Box::new(file));
            (ReadPool::Sqlite(pool), at_once, database)
        };
        Ok(Self {
            read,
            read_turns: Turns::new(at_once),
            database,
            wake: Wake::default(),
            tail: Tail::default(),
            log: WriteAheadLog::default(),
            newest_event: AtomicI64::new(0),
            space: Space::default(),
            failure: OnceLock::new(),
        })
    }

    /// Returns the notifier of everything recorded, by this process or another.
    pub const fn wake(&self) -> &Wake {
        &self.wake
    }

    /// Begins a new epoch. Nothing may be reading the store.
    async fn begin_epoch(&self) -> Result<Epoch, StoreError> {
        match &self.database {
            Database::Sqlite(file) => {
                let mut connection = file.connect_writer().await?;
                let epoch = epochs::begin_sqlite(&mut connection).await?;
                connection.close().await?;
                Ok(epoch)
            }
            Database::Postgres(server) => {
                epochs::begin_postgres(&mut server.server().connect().await?).await
            }
        }
    }

    /// Returns why the process must end: the disk failed, or a file of the store is no longer the
    /// one that is open. `None` while neither has happened.
    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    /// Disables recording permanently: cancels `failed`, and logs the first reason for it.
    pub fn fail(&self, error: &StoreError, failed: &CancellationToken) {
        let error = match &self.database {
            // SQLite's error may be the consequence of a file that was replaced.
            Database::Sqlite(file) => &match file.check_files() {
                Err(replaced) if replaced.is_fatal() => replaced,
                _ => with_file(file.path(), error.clone()),
            },
            Database::Postgres(_) => error,
        };
        if self.failure.set(error.to_string()).is_ok() {
            error!(error = %error, "{error}: recording is disabled until the process restarts");
            // Written before the process may end. Nothing more is written to a disk that failed.
            if let (StoreError::Replaced(_), Database::Sqlite(file)) = (error, &self.database)
                && let Err(error) = file.write_last_mark()
            {
                warn!(error = %error, "the high-water mark is not kept up");
            }
        }
        failed.cancel();
    }

    /// Checks that the files of a SQLite store are still the ones that are open.
    ///
    /// # Errors
    /// `Replaced`.
    fn check_files(&self) -> Result<(), StoreError> {
        match &self.database {
            Database::Sqlite(file) => file.check_files(),
            Database::Postgres(_) => Ok(()),
        }
    }

    /// Raises the stamp of a SQLite database within the open transaction, if it is due.
    async fn stamp(&self, writer: &mut Writer) -> Result<(), StoreError> {
        let (Writer::Sqlite(connection), Database::Sqlite(file)) = (writer, &self.database) else {
            return Ok(());
        };
        if let Some(stamp) = file.files.get().and_then(OpenFiles::next_stamp) {
            let sql = format!("PRAGMA user_version = {stamp}");
            connection.execute(AssertSqlSafe(sql)).await?;
        }
        Ok(())
    }

    async fn connect_writer(&self) -> Result<Writer, StoreError> {
        if let Database::Sqlite(file) = &self.database {
            file.mark_start().await?;
        }
        Writer::connect(&self.database).await
    }

    /// Notes rows that are committed and about to be acknowledged.
    fn acknowledged(&self, task: i64, event: i64) {
        if let Database::Sqlite(file) = &self.database {
            file.acknowledged.raise(task, event);
        }
    }

    /// The time limit of a transaction; after it the connection is closed. SQLite needs no limit,
    /// and a statement on it cannot be interrupted.
    const fn batch_timeout(&self) -> Option<Duration> {
        match self.database {
            Database::Sqlite(_) => None,
            Database::Postgres(_) => Some(engine::BATCH_TIMEOUT),
        }
    }

    /// Notes that this process has read event `newest`.
    fn note_event_seen(&self, newest: i64) {
        self.newest_event.fetch_max(newest, Ordering::Relaxed);
    }

    /// Notes that `newest` is the end of the log, whatever was seen before.
    fn set_newest_event(&self, newest: i64) {
        self.newest_event.store(newest, Ordering::Relaxed);
    }

    /// Returns `events` with the newest event that this process has seen.
    fn with_events_seen(&self, events: EventTable) -> EventTable {
        let seen = self.newest_event.load(Ordering::Relaxed);
        EventTable {
            newest: events.newest.max(seen),
            ..events
        }
    }

    /// Returns whether other processes may have this store open too.
    pub const fn is_shared(&self) -> bool {
        matches!(self.database, Database::Postgres(_))
    }

    /// Waits for queries in progress, then closes their connections. Leaves a SQLite file with no
    /// log beside it. The recorder must have ended.
    pub async fn close(&self) {
        match &self.read {
            ReadPool::Sqlite(pool) => pool.close().await,
            ReadPool::Postgres(readers) => readers.close().await,
        }
        if let Database::Sqlite(file) = &self.database
            && let Err(error) = file.fold_in_log().await
        {
            if error.is_fatal() {
                self.fail(&error, &CancellationToken::new());
            }
            warn!(error = %error, "the write-ahead log was not folded in; the next start does it");
        }
    }
}

pub(crate) fn is_postgres(url: &str) -> bool {
    ["postgres:", "postgresql:"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
}

/// Runs a query when it is the turn of the API key that it is for.
async fn read_in_turn<T>(
    turns: &Turns,
    reading: impl Future<Output = Result<T, StoreError>>,
) -> Result<T, StoreError> {
    let reading = async {
        let _turn = turns.take(&turns::current_key()).await;
        reading.await
    };
    read_in_time(reading).await
}

async fn read_in_time<T, E>(reading: impl Future<Output = Result<T, E>>) -> Result<T, StoreError>
where
    StoreError: From<E>,
{
    match timeout(READ_TIMEOUT, reading).await {
        Ok(read) => read.map_err(StoreError::from),
        Err(_) => Err(StoreError::TooSlow),
    }
}
