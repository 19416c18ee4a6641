//! The last high-water mark of a process that found its files deleted or replaced.
//!
//! Marks are written each second. If the write-ahead log is deleted, acknowledged rows may be lost
//! that no mark counts yet, and the next start would not miss them. So the process raises the mark
//! once more before it ends. It cannot read the numbers from files that are not its own any more,
//! so it keeps them in memory.

use std::sync::atomic::{AtomicI64, Ordering};

use super::SqliteFile;
use super::mark;
use super::mark::Log;
use crate::store::StoreError;

/// The newest rows that the recorder has acknowledged; 0 if this process has written none.
#[derive(Debug, Default)]
pub struct Acknowledged {
    task: AtomicI64,
    event: AtomicI64,
}

impl Acknowledged {
    /// Notes that rows up to these are committed to files that are in place.
    pub fn raise(&self, task: i64, event: i64) {
        self.task.fetch_max(task, Ordering::Relaxed);
        self.event.fetch_max(event, Ordering::Relaxed);
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
        let (task, event) = self.acknowledged.get();
        let mark = last.raised_to(task, event);
        if mark != last {
            mark.write(path)?;
            *written = Some(mark);
        }
        Ok(())
    }
}
