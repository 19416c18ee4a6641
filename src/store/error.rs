//! What can go wrong with the store, told apart by what the caller must do.

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

/// A failed store operation. What was to be written may have been written all the same (RELIABILITY F3, F6):
/// callers say "try again", and everything is idempotent.
#[derive(Clone, Debug, thiserror::Error)]
pub enum StoreError {
    /// The recorder's queue is full.
    #[error("more is waiting to be recorded than can be")]
    Overloaded,
    /// The process is stopping.
    #[error("the recorder has stopped")]
    Stopped,
    /// Another process has this store open.
    #[error("{path} is in use by another process")]
    InUse { path: String },
    #[error("cannot open {path}: {reason}")]
    CannotOpen { path: String, reason: String },
    /// The database server is not there, does not let us in, or broke off. Heals when it is back.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// A question, or a batch on a server, took longer than anybody waits for.
    #[error("the database took too long")]
    TooSlow,
    /// Another recorder was in the way; the same again is likely to succeed.
    #[error("another transaction was in the way: {0}")]
    Contended(String),
    /// No space left; heals when there is some.
    #[error("the disk is full")]
    Full,
    /// The file is damaged, or no database at all.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A read or write of the disk failed: what the database says from now on is not to be trusted (RELIABILITY F6).
    #[error("the disk failed: {0}")]
    DiskFailed(String),
    /// The database was made by a newer version of this program.
    #[error("the database has a schema newer than this program ({0})")]
    SchemaTooNew(String),
    /// A stored value that this program cannot have written.
    #[error("row {id} of table {table} has an impossible value in column {column}")]
    Corrupt {
        table: &'static str,
        id: i64,
        column: &'static str,
    },
    #[error("{0}")]
    Sql(Arc<sqlx::Error>),
}

impl StoreError {
    /// Whether nothing may be acknowledged any more until the database was opened anew.
    pub const fn is_fatal(&self) -> bool {
        matches!(self, Self::Damaged(_) | Self::DiskFailed(_))
    }

    /// Whether one entry of a batch may be to blame, so that the others deserve another try without it.
    pub const fn may_be_one_entry(&self) -> bool {
        matches!(self, Self::Sql(_) | Self::Corrupt { .. })
    }
}

/// SQLite's primary result codes, <https://www.sqlite.org/rescode.html>.
mod sqlite {
    pub const IOERR: i32 = 10;
    pub const IOERR_SHMSIZE: i32 = 4874;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const NOTADB: i32 = 26;
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => {
                let told = match database.try_downcast_ref::<PgDatabaseError>() {
                    Some(postgres) => of_postgres(postgres),
                    None => of_sqlite(database.as_ref()),
                };
                told.unwrap_or_else(|| Self::Sql(Arc::new(error)))
            }
            sqlx::Error::Tls(_) | sqlx::Error::Configuration(_) if !is_our_own(&error) => {
                Self::Unreachable(shown(&error))
            }
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed => Self::Unreachable(error.to_string()),
            _ => Self::Sql(Arc::new(error)),
        }
    }
}

/// A complaint of ours in `sqlx::Error::Configuration`, which can be shown as it is.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unusable(pub String);

fn is_our_own(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Configuration(cause) if cause.is::<Unusable>())
}

/// The text of an error of connecting. The driver's own text may quote a part of the URL, which may
/// be a password, and the lines of the files that `sslkey` and `sslcert` name.
pub(super) fn shown(error: &sqlx::Error) -> String {
    let (cause, otherwise) = match error {
        sqlx::Error::Configuration(cause) if cause.is::<Unusable>() => return cause.to_string(),
        sqlx::Error::Configuration(cause) => (cause, UNREADABLE_URL),
        sqlx::Error::Tls(cause) => (cause, UNREADABLE_PEM),
        other => return other.to_string(),
    };
    // These two name what is wrong and quote nothing.
    if let Some(error) = cause.downcast_ref::<url::ParseError>() {
        return error.to_string();
    }
    cause
        .downcast_ref::<rustls::Error>()
        .map_or_else(|| otherwise.to_owned(), ToString::to_string)
}

const UNREADABLE_URL: &str = "a part of the database's URL cannot be read, or sslkey names no private key in PEM form \
     (look at sslmode, port, hostaddr, statement-cache-capacity, sslcert and sslkey)";

const UNREADABLE_PEM: &str =
    "TLS could not be set up: sslrootcert, sslcert or sslkey names no well-formed PEM file";

fn of_sqlite(error: &dyn DatabaseError) -> Option<StoreError> {
    let extended: i32 = error.code()?.parse().ok()?;
    let message = || error.message().to_owned();
    if extended == sqlite::IOERR_SHMSIZE {
        // The log's index cannot grow: on a full disk SQLite calls that a failed write. It holds nothing that must last.
        return Some(StoreError::Full);
    }
    match extended & 0xff {
        sqlite::FULL => Some(StoreError::Full),
        sqlite::IOERR => Some(StoreError::DiskFailed(message())),
        sqlite::CORRUPT | sqlite::NOTADB => Some(StoreError::Damaged(message())),
        _ => None,
    }
}

/// By SQLSTATE, <https://www.postgresql.org/docs/current/errcodes-appendix.html>. A server that is told to stop, that is
/// a standby now, or that cannot read its disk is one to come back to; what is left may be an entry's fault.
fn of_postgres(error: &PgDatabaseError) -> Option<StoreError> {
    let message = || error.message().to_owned();
    match error.code() {
        "40001" | "40P01" => Some(StoreError::Contended(message())),
        "53100" => Some(StoreError::Full),
        "57014" | "55P03" => Some(StoreError::TooSlow),
        "25006" | "25P03" => Some(StoreError::Unreachable(message())),
        code => ["08", "28", "53", "57", "58"]
            .contains(&&code[..2])
            .then(|| StoreError::Unreachable(message())),
    }
}
