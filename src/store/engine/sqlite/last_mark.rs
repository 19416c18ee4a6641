//! The last high-water mark of a process that found its files deleted or replaced.
//!
//! Marks are written each second. If the write-ahead log is deleted, acknowledged rows may be lost
//! that no mark counts yet, and the next start would not miss them. So the process raises the mark
//! once more before it ends. It cannot read the numbers from files that are not its own any more,
//! so it keeps them in memory.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use sqlx::SqliteConnection;
use sqlx::sqlite::SqliteOperation;

use super::SqliteFile;
use super::mark;
use super::mark::Log;
use crate::store::StoreError;

/// The newest rows that the recorder has acknowledged.
#[derive(Debug, Default)]
pub struct Acknowledged {
    /// May contain rows of a transaction that is not committed.
    inserted: Newest,
    acknowledged: Newest,
}

/// The newest numbers; 0 if this process has written none.
#[derive(Debug, Default)]
struct Newest {
    task: AtomicI64,
    event: AtomicI64,
}

impl Acknowledged {
    /// Watches which rows the recorder's new connection inserts. Forgets those of the previous
    /// connection that were not committed.
    pub async fn watch(
        self: &Arc<Self>,
        connection: &mut SqliteConnection,
    ) -> Result<(), sqlx::Error> {
        self.inserted.set(&self.acknowledged);
        let seen = Arc::clone(self);
        connection
            .lock_handle()
            .await?
            .set_update_hook(move |change| {
                if change.operation == SqliteOperation::Insert {
                    seen.inserted.raise(change.table, change.rowid);
                }
            });
        Ok(())
    }

    /// Notes that what was inserted is committed to files that are in place.
    pub fn committed(&self) {
        self.acknowledged.set(&self.inserted);
    }
}

impl Newest {
    fn raise(&self, table: &str, number: i64) {
        // The rowid of both tables is their `seq`.
        let newest = match table {
            "task" => &self.task,
            "event" => &self.event,
            _ => return,
        };
        newest.fetch_max(number, Ordering::Relaxed);
    }

    fn set(&self, other: &Self) {
        let (task, event) = other.get();
        self.task.store(task, Ordering::Relaxed);
        self.event.store(event, Ordering::Relaxed);
    }

    fn get(&self) -> (i64, i64) {
        let (task, event) = (&self.task, &self.event);
        (task.load(Ordering::Relaxed), event.load(Ordering::Relaxed))
    }
}

impl SqliteFile {
    /// Raises the mark to what was acknowledged, although the files were replaced. The mark keeps
    /// the inode of the file that was open.
    ///
    /// Writes nothing if the folder or the mark is not ours any more, because it then says how far
    /// another database had come.
    pub fn write_last_mark(&self) -> Result<(), StoreError> {
        let path = self.path();
        let mut written = self.written();
        let Some(last) = *written else {
            return Ok(());
        };
        let is_ours = self.locks.has_folder(path) && mark::read(path)? == Some(last);
        if !is_ours || last.log == Log::FoldedIn {
            return Ok(());
        }
        let (task, event) = self.acknowledged.acknowledged.get();
        let mark = last.raised_to(task, event);
        if mark != last {
            mark.write(path)?;
            *written = Some(mark);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_count_once_they_are_committed_and_those_of_a_lost_connection_are_forgotten() {
        let acknowledged = Acknowledged::default();
        acknowledged.inserted.raise("task", 3);
        acknowledged.inserted.raise("event", 5);
        acknowledged.inserted.raise("observation", 9);
        assert_eq!(acknowledged.acknowledged.get(), (0, 0));
        acknowledged.committed();
        assert_eq!(acknowledged.acknowledged.get(), (3, 5));
        acknowledged.inserted.raise("task", 4);
        acknowledged.inserted.set(&acknowledged.acknowledged);
        acknowledged.committed();
        assert_eq!(acknowledged.acknowledged.get(), (3, 5));
    }
}
