//! Where it is kept. One concrete `Store`; all SQL of the program is below this module.
//!
//! Everything that a task goes through is written by the `recorder`, the one owner of the write transaction. The
//! other methods read, on connections that cannot write.

// From an entry to the disk, and back as a receipt.
pub mod entry;
pub mod recorder;

mod load;

mod apply;
mod ledger;

mod quarantine;
mod write;

// What a row holds, and how many are written at once.
pub mod record;
mod rows;

// What can be asked.
pub mod history;
pub mod reads;

// The database itself.
pub mod error;
pub mod inspect;
mod sqlite;

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
