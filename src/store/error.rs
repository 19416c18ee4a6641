//! What can go wrong with the store, told apart by what the caller must do.

use std::sync::Arc;

use sqlx::error::DatabaseError;

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
mod code {
    pub const IOERR: i32 = 10;
    pub const CORRUPT: i32 = 11;
    pub const FULL: i32 = 13;
    pub const NOTADB: i32 = 26;
}

impl From<sqlx::Error> for StoreError {
    fn from(error: sqlx::Error) -> Self {
        let Some(database) = error.as_database_error() else {
            return match error {
                sqlx::Error::Io(io) => Self::DiskFailed(io.to_string()),
                other => Self::Sql(Arc::new(other)),
            };
        };
        match primary_code(database) {
            Some(code::FULL) => Self::Full,
            Some(code::IOERR) => Self::DiskFailed(database.message().to_owned()),
            Some(code::CORRUPT | code::NOTADB) => Self::Damaged(database.message().to_owned()),
            _ => Self::Sql(Arc::new(error)),
        }
    }
}

fn primary_code(error: &dyn DatabaseError) -> Option<i32> {
    let extended: i32 = error.code()?.parse().ok()?;
    Some(extended & 0xff)
}
