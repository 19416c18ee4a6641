//! Errors of the store, distinguished by what the caller must do.

use std::sync::Arc;

use sqlx::error::DatabaseError;
use sqlx::postgres::PgDatabaseError;

use super::recorder::entry::Receipt;

/// A failed store operation. The write may have happened nevertheless (rules F3, F6). So
/// callers answer "try again", and everything is idempotent.
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
    /// The file of the database has hard links.
    #[error(
        "the database {path} has {names} names (hard links), and a start by another name after a crash would lose what is \
         only in the write-ahead log of this one: remove the other links (find them with find -samefile), and keep the \
         name that has the -wal file beside it"
    )]
    SeveralNames { path: String, names: u64 },
    /// The database server answers, but something must be changed before it can be used.
    #[error("cannot use {path}: {reason}")]
    Unsuitable { path: String, reason: String },
    /// The server, or a pooler in front of it, has reached its connection limit.
    #[error("{path} has no connection left for this process: {reason}")]
    NoConnectionLeft { path: String, reason: String },
    /// The database server does not answer, refuses the login, or disconnected. Heals when it is
    /// back.
    #[error("the database cannot be reached: {0}")]
    Unreachable(String),
    /// A query, or a batch on a server, exceeded its time limit.
    #[error("the database took too long")]
    TooSlow,
    /// Another recorder's transaction conflicted. A retry is likely to succeed.
    #[error("another transaction was in the way: {0}")]
    Contended(String),
    /// A new epoch began during the read. The events read may not follow those that the reader has.
    #[error("the store was restored meanwhile")]
    EpochChanged,
    /// Events after the reader's position were deleted during the read. `oldest` is the oldest one
    /// that is kept.
    #[error("events before {oldest} were deleted meanwhile")]
    EventsDeleted { oldest: i64 },
    /// Another program holds SQLite's write lock. A later retry may succeed.
    #[error("another program holds the write lock of the database")]
    Locked,
    /// The recorder answered with the receipt of another kind of entry, which is a fault of this
    /// program. The entry is on the disk.
    #[error("the recorder returned the receipt of another entry: {0:?}")]
    OtherReceipt(Receipt),
    /// There is no space left. Heals when there is some.
    #[error("the disk is full")]
    Full,
    /// The file is damaged, or is not a database.
    #[error("the database is damaged: {0}")]
    Damaged(String),
    /// A read or write of the disk failed. Later answers of the database cannot be trusted
    /// (rule F6).
    #[error("the disk failed: {0}")]
    DiskFailed(String),
    /// A file at a path of the store is no longer the one that is open. What is committed to the
    /// open file is lost when the process ends.
    #[error("{0} while the service ran")]
    Replaced(String),
    /// A newer version of this program has upgraded the database.
    #[error(
        "the database has a schema newer than this program: it has migration {found}, and this program knows those up to \
         {newest}: run the version that upgraded the database, or a newer one"
    )]
    SchemaTooNew { found: i64, newest: i64 },
    /// A migration of this program was applied with a different text.
    #[error(
        "the database was made by a version of this program that was never released (its migration {0} differs from ours), \
         and cannot be upgraded: run that version, or begin with a new database"
    )]
    SchemaDiffers(i64),
    /// A stored value that this program cannot have written.
    #[error("row {id} of table {table} has an impossible value in column {column}")]
    Corrupt {
        table: &'static str,
        id: i64,
        column: &'static str,
    },
    /// The database file is absent, and a file beside it shows that an earlier start had one.
    #[error(
        "there is no database at {path}, although {trace} shows that there was one: is store.url right? If it is and the \
         database is lost, restore it; or, to begin with nothing, create an empty file {path}"
    )]
    Gone { path: String, trace: String },
    #[error("{}", shown(.0))]
    Sql(Arc<sqlx::Error>),
}

impl StoreError {
    /// Returns whether nothing may be acknowledged until the database is reopened.
    pub const fn is_fatal(&self) -> bool {
        matches!(
            self,
            Self::Damaged(_) | Self::DiskFailed(_) | Self::Replaced(_)
        )
    }

    /// Returns whether one entry of a batch may be the cause, so that the others should be tried
    /// without it.
    pub const fn may_be_one_entry(&self) -> bool {
        matches!(self, Self::Sql(_) | Self::Corrupt { .. })
    }
}

/// SQLite's result codes, <https://www.sqlite.org/rescode.html>.
mod sqlite {
    pub const BUSY: i32 = 5;
    pub const IOERR: i32 = 10;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const NOTADB: i32 = 26;

    /// The log's index cannot grow. It holds nothing that must last.
    pub const IOERR_SHMSIZE: i32 = IOERR | (19 << 8);

    /// Codes which say that the disk under the database failed. In order: read, short read, write,
    /// fsync, fsync of a folder, truncate, wrong checksum, corrupt file system, unreadable mapped
    /// page.
    ///
    /// The other codes of this family are about temporary folders, memory, permissions, locks or
    /// deleted files. They refuse one transaction and say nothing about the stored data.
    pub const DISK_FAILED: [i32; 9] = [
        IOERR | (1 << 8),
        IOERR | (2 << 8),
        IOERR | (3 << 8),
        IOERR | (4 << 8),
        IOERR | (5 << 8),
        IOERR | (6 << 8),
        IOERR | (32 << 8),
        IOERR | (33 << 8),
        IOERR | (34 << 8),
    ];
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
            | sqlx::Error::PoolClosed => Self::Unreachable(shown(&error)),
            _ => Self::Sql(Arc::new(error)),
        }
    }
}

/// An error of our own in `sqlx::Error::Configuration`, whose text is safe to show.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct Unusable(pub String);

fn is_our_own(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Configuration(cause) if cause.is::<Unusable>())
}

/// Returns whether the server does not offer the TLS that `sslmode` requires.
pub(super) fn is_without_tls(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Tls(cause) if cause.to_string() == NO_TLS_OF_DRIVER)
}

/// Returns the text of a driver's error. The driver's own text may quote a part of the URL, which
/// may be a password, or lines of the files that `sslkey` and `sslcert` name. It also ends with the
/// number of a line in PostgreSQL's source, which says nothing to an operator.
pub(super) fn shown(error: &sqlx::Error) -> String {
    let (cause, otherwise) = match error {
        sqlx::Error::Database(cause) if cause.try_downcast_ref::<PgDatabaseError>().is_some() => {
            return format!("error returned from database: {}", cause.message());
        }
        error if is_without_tls(error) => return NO_TLS.to_owned(),
        sqlx::Error::Io(cause) if is_of_ca(cause) => return OF_CA.to_owned(),
        sqlx::Error::Configuration(cause) if cause.is::<Unusable>() => return cause.to_string(),
        sqlx::Error::Configuration(cause) => (cause, UNREADABLE_URL),
        sqlx::Error::Tls(cause) => (cause, UNREADABLE_PEM),
        other => return other.to_string(),
    };
    // These two errors name the problem and quote nothing.
    if let Some(error) = cause.downcast_ref::<url::ParseError>() {
        return error.to_string();
    }
    cause
        .downcast_ref::<rustls::Error>()
        .map_or_else(|| otherwise.to_owned(), ToString::to_string)
}

/// Returns whether rustls refuses a server because its certificate is a CA certificate. Its error
/// has no variant for that.
fn is_of_ca(error: &std::io::Error) -> bool {
    let cause = error.get_ref().and_then(|cause| cause.downcast_ref());
    let is_it = |cause: &rustls::Error| format!("{cause:?}").contains("CaUsedAsEndEntity");
    cause.is_some_and(is_it)
}

/// The text of the driver's error about a server without TLS.
const NO_TLS_OF_DRIVER: &str = "server does not support TLS";

const NO_TLS: &str = "the server does not offer TLS, and sslmode requires it";

const OF_CA: &str = "the server's certificate is a CA certificate; make one that is signed by it";

const UNREADABLE_URL: &str = "a part of the database's URL cannot be read, or sslkey names no private key in PEM form \
     (look at sslmode, port, hostaddr, statement-cache-capacity, sslcert and sslkey)";

const UNREADABLE_PEM: &str =
    "TLS could not be set up: sslrootcert, sslcert or sslkey names no well-formed PEM file";

fn of_sqlite(error: &dyn DatabaseError) -> Option<StoreError> {
    let extended = error.code()?.parse().ok()?;
    of_sqlite_code(extended, || error.message().to_owned())
}

fn of_sqlite_code(extended: i32, message: impl Fn() -> String) -> Option<StoreError> {
    if sqlite::DISK_FAILED.contains(&extended) {
        return Some(StoreError::DiskFailed(message()));
    }
    match extended & 0xff {
        sqlite::BUSY => Some(StoreError::Locked),
        sqlite::FULL => Some(StoreError::Full),
        sqlite::IOERR if extended == sqlite::IOERR_SHMSIZE => Some(StoreError::Full),
        sqlite::CORRUPT | sqlite::NOTADB => Some(StoreError::Damaged(message())),
        _ => None,
    }
}

/// Maps an SQLSTATE, see <https://www.postgresql.org/docs/current/errcodes-appendix.html>. A server
/// that is stopping, is now a standby, or cannot read its disk is worth a retry. Other errors may
/// be the fault of one entry.
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Each code of SQLite's `SQLITE_IOERR` family, as its documentation lists them.
    const IOERR_CODES: [(&str, i32, &str); 34] = [
        ("READ", 266, "disk"),
        ("SHORT_READ", 522, "disk"),
        ("WRITE", 778, "disk"),
        ("FSYNC", 1034, "disk"),
        ("DIR_FSYNC", 1290, "disk"),
        ("TRUNCATE", 1546, "disk"),
        ("FSTAT", 1802, "other"),
        ("UNLOCK", 2058, "other"),
        ("RDLOCK", 2314, "other"),
        ("DELETE", 2570, "other"),
        ("BLOCKED", 2826, "other"),
        ("NOMEM", 3082, "other"),
        ("ACCESS", 3338, "other"),
        ("CHECKRESERVEDLOCK", 3594, "other"),
        ("LOCK", 3850, "other"),
        ("CLOSE", 4106, "other"),
        ("DIR_CLOSE", 4362, "other"),
        ("SHMOPEN", 4618, "other"),
        ("SHMSIZE", 4874, "full"),
        ("SHMLOCK", 5130, "other"),
        ("SHMMAP", 5386, "other"),
        ("SEEK", 5642, "other"),
        ("DELETE_NOENT", 5898, "other"),
        ("MMAP", 6154, "other"),
        ("GETTEMPPATH", 6410, "other"),
        ("CONVPATH", 6666, "other"),
        ("VNODE", 6922, "other"),
        ("AUTH", 7178, "other"),
        ("BEGIN_ATOMIC", 7434, "other"),
        ("COMMIT_ATOMIC", 7690, "other"),
        ("ROLLBACK_ATOMIC", 7946, "other"),
        ("DATA", 8202, "disk"),
        ("CORRUPTFS", 8458, "disk"),
        ("IN_PAGE", 8714, "disk"),
    ];

    const OTHER_CODES: [(&str, i32, &str); 14] = [
        ("IOERR", 10, "other"),
        ("PERM", 3, "other"),
        ("BUSY", 5, "other"),
        ("LOCKED", 6, "other"),
        ("NOMEM", 7, "other"),
        ("READONLY", 8, "other"),
        ("READONLY_DBMOVED", 1032, "other"),
        ("CANTOPEN", 14, "other"),
        ("CANTOPEN_NOTEMPDIR", 270, "other"),
        ("CONSTRAINT", 19, "other"),
        ("FULL", 13, "full"),
        ("CORRUPT", 11, "damaged"),
        ("CORRUPT_INDEX", 779, "damaged"),
        ("NOTADB", 26, "damaged"),
    ];

    #[test]
    fn only_a_failed_read_write_sync_or_truncate_is_a_failed_disk() {
        for (name, code, wanted) in IOERR_CODES.into_iter().chain(OTHER_CODES) {
            let error = of_sqlite_code(code, String::new);
            let found = match &error {
                Some(StoreError::DiskFailed(_)) => "disk",
                Some(StoreError::Damaged(_)) => "damaged",
                Some(StoreError::Full) => "full",
                _ => "other",
            };
            assert_eq!(found, wanted, "{name} ({code})");
            let is_fatal = error.is_some_and(|error| error.is_fatal());
            assert_eq!(is_fatal, ["disk", "damaged"].contains(&wanted), "{name}");
        }
    }
}
