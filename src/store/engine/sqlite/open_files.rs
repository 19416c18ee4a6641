//! Checks whether the files of a SQLite store that this process has open are still the ones at
//! their paths.
//!
//! SQLite keeps using the files that it has opened, whatever happens at their paths. If a file was
//! deleted or moved away, what SQLite commits to it is lost when the process ends. So the recorder
//! calls `check` after each commit, before any caller is answered, and the space watch calls it
//! each second.
//!
//! A file that was overwritten in place keeps its inode. The database is recognized by its stamp,
//! the `user_version` in its header. The recorder raises the stamp at most once a second, and an
//! older copy has a lower one. `OpenLog` recognizes the write-ahead log.
//!
//! A checkpoint in progress while the database is overwritten may write the newest stamp over the
//! old one. A smaller copy then lacks pages at the end of the file, which no checkpoint writes
//! again. So the offsets of a few of those pages are remembered. Some of these may be written again
//! nevertheless, because they have changed since.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::fs::{SeekFrom, seek};

use super::files::{cannot_open, log_file};
use super::locks::Locks;
use super::open_log::OpenLog;
use crate::files::beside;
use crate::store::StoreError;

/// The offset of the `user_version` in the header of a SQLite database, big-endian.
const STAMP_OFFSET: u64 = 60;

/// The least time between two stamps. Each one costs a page in the log.
const STAMP_INTERVAL: Duration = Duration::from_secs(1);

/// The largest first step. A process begins at a random distance from the last stamp, so that
/// copies of one database that are used separately differ.
const FIRST_STEP_MAX: i32 = 1024;

/// How many pages at the end of the database are remembered, how many at a time, and how often. One
/// at a time is not enough: it may be an index page that each checkpoint writes again.
const TAIL_PAGES: usize = 16;
const TAIL_STEP_PAGES: u64 = 4;
const TAIL_INTERVAL: Duration = Duration::from_secs(1);

/// The bytes that are read of a page. A hole in a file reads as zeros. A page rarely begins with as
/// many, so only then the file system is asked whether there is a hole.
const PAGE_BYTES: u64 = 4096;
const PAGE_HEAD_BYTES: usize = 64;

/// The open files of one database.
#[derive(Debug)]
pub struct OpenFiles {
    database: OpenFile,
    /// The database at its configured path, which may contain symlinks.
    given: Option<OpenFile>,
    log: OpenFile,
    index: OpenFile,
    log_content: OpenLog,
    locks: Arc<Locks>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// The content of the files at the last check.
#[derive(Debug, Default)]
struct Seen {
    /// The stamp in the file itself, not in the log.
    stamp: i32,
    /// The last stamp that a transaction may have written.
    newest_stamp: i32,
    /// The highest stamp that is certainly on the disk.
    synced_stamp: Option<i32>,
    stamped_at: Option<Instant>,
    /// Offsets of pages that were at the end of the file, the oldest first.
    tail: VecDeque<u64>,
    tail_at: Option<Instant>,
    /// The length of the file when pages were last remembered.
    tail_bytes: u64,
}

impl OpenFiles {
    /// Opens second descriptors of the files of `database`. SQLite must have all of them open.
    /// `given` is the path of the database in the configuration. `newest_stamp` is the one that a
    /// reader sees.
    pub fn new(
        database: &Path,
        given: &Path,
        locks: Arc<Locks>,
        newest_stamp: i32,
        synced_stamp: Option<i32>,
    ) -> Result<Self, StoreError> {
        let (log, index) = (log_file(database), beside(database, "-shm"));
        let opened = OpenFile::at(database.to_owned())?;
        let given = (given != database).then(|| OpenFile {
            path: given.to_owned(),
            ..opened
        });
        let files = Self {
            database: opened,
            given,
            log_content: OpenLog::new(&log, &index)?,
            log: OpenFile::at(log)?,
            index: OpenFile::at(index)?,
            locks,
            seen: Mutex::default(),
        };
        let stamp = files.stamp_on_disk().unwrap_or(newest_stamp);
        *files.seen() = Seen {
            stamp,
            newest_stamp,
            synced_stamp,
            tail_bytes: files.locks.database().map_or(0, file_bytes),
            ..Seen::default()
        };
        Ok(files)
    }

    /// Checks that the paths lead to the open files, and that no file was overwritten.
    ///
    /// # Errors
    /// `Replaced`.
    pub fn check(&self) -> Result<(), StoreError> {
        self.database.check_place()?;
        // The next start would follow the symlinks to another file.
        self.given.as_ref().map_or(Ok(()), OpenFile::check_place)?;
        self.log.check_place()?;
        self.index.check_place()?;
        self.check_database()?;
        if self.log_content.matches_its_index()? {
            Ok(())
        } else {
            Err(self.log.overwritten())
        }
    }

    /// Returns the stamp that the next transaction must write, or `None` if the last one is recent.
    pub fn next_stamp(&self) -> Option<i32> {
        let mut seen = self.seen();
        let step = match seen.stamped_at {
            Some(at) if at.elapsed() < STAMP_INTERVAL => return None,
            Some(_) => 1,
            None => fastrand::i32(1..=FIRST_STEP_MAX),
        };
        // After 68 years of writing no stamp is left, and none is written any more.
        let next = seen.newest_stamp.checked_add(step)?;
        seen.newest_stamp = next;
        seen.stamped_at = Some(Instant::now());
        Some(next)
    }

    /// Returns the stamp in the database file. After a complete checkpoint, that stamp is on the
    /// disk.
    pub fn stamp_on_disk(&self) -> Option<i32> {
        read_stamp(self.locks.database()?).ok()
    }

    /// Notes that a checkpoint is complete. `stamp`, which was in the file when it began, is now on
    /// the disk for good.
    pub fn checkpointed(&self, stamp: Option<i32>) {
        let mut seen = self.seen();
        seen.synced_stamp = seen.synced_stamp.max(stamp);
        let is_recent = seen.tail_at.is_some_and(|at| at.elapsed() < TAIL_INTERVAL);
        let (false, Some(file)) = (is_recent, self.locks.database()) else {
            return;
        };
        let bytes = file_bytes(file);
        for page in new_tail(seen.tail_bytes, bytes) {
            if seen.tail.contains(&page) || !is_page(file, page) {
                continue;
            }
            if seen.tail.len() == TAIL_PAGES {
                seen.tail.pop_front();
            }
            seen.tail.push_back(page);
            seen.tail_at = Some(Instant::now());
            seen.tail_bytes = bytes;
        }
    }

    /// Returns the stamp for the high-water mark.
    pub fn synced_stamp(&self) -> Option<i32> {
        self.seen().synced_stamp
    }

    fn check_database(&self) -> Result<(), StoreError> {
        let Some(file) = self.locks.database() else {
            return Ok(());
        };
        let mut seen = self.seen();
        let stamp = match read_stamp(file) {
            Ok(stamp) => stamp,
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
                return Err(self.database.overwritten());
            }
            Err(error) => return Err(StoreError::DiskFailed(error.to_string())),
        };
        let is_ours = (seen.stamp..=seen.newest_stamp).contains(&stamp);
        if !(is_ours && seen.tail.iter().all(|page| is_page(file, *page))) {
            return Err(self.database.overwritten());
        }
        seen.stamp = stamp;
        Ok(())
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl OpenFile {
    fn at(path: PathBuf) -> Result<Self, StoreError> {
        let found = fs::metadata(&path).map_err(|error| cannot_open(&path, &error))?;
        Ok(Self {
            device: found.dev(),
            inode: found.ino(),
            path,
        })
    }

    fn check_place(&self) -> Result<(), StoreError> {
        match fs::metadata(&self.path) {
            Ok(there) if (there.dev(), there.ino()) == (self.device, self.inode) => Ok(()),
            Ok(_) => Err(self.replaced("was replaced by another file")),
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
                ) =>
            {
                Err(self.replaced("was deleted or moved away"))
            }
            Err(error) => Err(cannot_open(&self.path, &error)),
        }
    }

    fn overwritten(&self) -> StoreError {
        self.replaced("was overwritten by another program")
    }

    fn replaced(&self, what: &str) -> StoreError {
        StoreError::Replaced(format!("{} {what}", self.path.display()))
    }
}

/// Reads the stamp of the database in `file`, without its log.
pub fn read_stamp(file: &File) -> io::Result<i32> {
    let mut stamp = [0; 4];
    file.read_exact_at(&mut stamp, STAMP_OFFSET)?;
    Ok(i32::from_be_bytes(stamp))
}

/// Returns the offsets of a few pages among those with which the file has grown from `before` to
/// `bytes`. The last is always one of them.
fn new_tail(before: u64, bytes: u64) -> impl Iterator<Item = u64> {
    let grown = bytes.saturating_sub(before) / PAGE_BYTES;
    let last = bytes.saturating_sub(PAGE_BYTES);
    (0..TAIL_STEP_PAGES)
        .rev()
        .map(move |step| last.saturating_sub(grown * step / TAIL_STEP_PAGES * PAGE_BYTES))
}

fn file_bytes(file: &File) -> u64 {
    file.metadata().map_or(0, |found| found.len())
}

/// Returns whether there is a page at `offset`, and not a hole or the end of the file. Moves the
/// position of `file`, which nothing else uses.
fn is_page(file: &File, offset: u64) -> bool {
    let mut head = [0; PAGE_HEAD_BYTES];
    if file.read_exact_at(&mut head, offset).is_err() {
        return false;
    }
    // The last overflow page of a value is the value's own bytes, and those may be zeros.
    head.iter().any(|byte| *byte != 0) || seek(file, SeekFrom::Data(offset)) == Ok(offset)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A checkpoint in progress writes the newest stamp and the newest page over the copy.
    #[test]
    fn a_smaller_copy_is_noticed_although_its_last_page_and_its_stamp_are_written_again() {
        const PAGE: usize = 4096;
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("receiver.db");
        let mut locks = Locks::take(&database, &database).unwrap();
        locks.make_database(&database).unwrap();
        for name in ["-wal", "-shm"] {
            fs::write(beside(&database, name), "").unwrap();
        }
        let file = File::options().write(true).open(&database).unwrap();
        file.write_all_at(&[1; 4 * PAGE], 0).unwrap();
        let stamp = i32::from_be_bytes([1; 4]);
        let files = OpenFiles::new(&database, &database, locks.into(), stamp, None).unwrap();
        file.write_all_at(&vec![1; 16 * PAGE], 0).unwrap();
        files.checkpointed(None);
        files.check_database().unwrap();
        file.set_len(8 * PAGE as u64).unwrap();
        file.write_all_at(&[1; PAGE], 15 * PAGE as u64).unwrap();
        let noticed = files.check_database();
        assert!(matches!(noticed, Err(StoreError::Replaced(_))));
    }

    #[test]
    fn a_page_of_zeros_is_a_page_and_a_hole_is_not() {
        let file = tempfile::tempfile().unwrap();
        file.write_all_at(&[0; 4096], 0).unwrap();
        file.write_all_at(&[0; 4096], 1 << 20).unwrap();
        assert!(is_page(&file, 0) && is_page(&file, 1 << 20));
        assert!(!is_page(&file, 64 << 10), "a hole");
        assert!(!is_page(&file, 2 << 20), "the end");
    }
}
