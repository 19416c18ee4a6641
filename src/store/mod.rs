//! Where it is kept. One concrete `Store`; all SQL of the program is below this module.
//!
//! Everything that a task goes through is written by the `recorder`, the one owner of the write transaction. The
//! other methods read, on connections that cannot write.

mod apply;
pub mod entry;
pub mod error;
pub mod history;
pub mod inspect;
mod ledger;
mod load;
mod quarantine;
pub mod reads;
pub mod record;
pub mod recorder;
mod rows;
mod sqlite;
mod write;

use std::fs::File;

use sqlx::SqlitePool;

pub use error::StoreError;

/// The database of this process. Cheap to share behind an `Arc`; the file stays locked until it is dropped.
#[derive(Debug)]
pub struct Store {
    /// One connection: SQLite has one writer, and to queue for it here is cheaper than to wait for its lock.
    write: SqlitePool,
    read: SqlitePool,
    _lock: File,
}

impl Store {
    /// Waits for statements under way, then closes every connection; the write-ahead log is folded into the database.
    pub async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}
