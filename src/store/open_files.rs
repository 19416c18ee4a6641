//! The files of a SQLite store that this process has open, and whether they are still the ones at their paths.
//!
//! SQLite goes on with the files that it has opened, whatever happens at their paths: what it commits to a file that was
//! deleted or moved away is gone with the process. So the recorder calls `check` after each commit, before anybody is
//! answered, and the space watch each second.
//!
//! A file that was overwritten in place keeps its inode. The database is recognized by its stamp, the `user_version` in its
//! header. The recorder raises it at most once a second, and an older copy has an older one. The write-ahead log is compared
//! with its index, which says how long the log is and which salts its header has.
//!
//! A checkpoint that is under way while the database is overwritten may put the newest stamp over the old one. A smaller copy
//! has lost pages at the end of the file then, which no checkpoint writes again: a few of them are remembered.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::StoreError;
use super::files::{beside, cannot_open, log_file};
use super::locks::Locks;

/// Where the header of a SQLite database has its `user_version`, big-endian.
const STAMP_OFFSET: u64 = 60;

/// The least time between two stamps. Each one costs a page in the log.
const STAMP_INTERVAL: Duration = Duration::from_secs(1);

/// A process begins at a distance from the last stamp, so that copies of one database that went on separately differ.
const FIRST_STEP_MAX: i32 = 1024;

/// How many pages at the end of the database are remembered, and the least time between two.
const TAIL_PAGES: usize = 4;
const TAIL_INTERVAL: Duration = Duration::from_secs(1);

/// What is read of a page. No page of a database begins with so many zeros, and a hole in a file does.
const PAGE_BYTES: u64 = 4096;
const PAGE_HEAD_BYTES: usize = 64;

/// Where the header of the log has its salts, and how many bytes they are.
const LOG_SALTS_OFFSET: u64 = 16;
const SALTS_BYTES: usize = 8;

/// The header of the log, and of each page in it.
const LOG_HEAD_BYTES: u64 = 32;
const FRAME_HEAD_BYTES: u64 = 24;

/// The header of the index, which is there twice. <https://www.sqlite.org/walformat.html>
const INDEX_HEAD_BYTES: usize = 48;

/// How often the log and its index are read until they agree. Another thread may be writing.
const READS: usize = 16;

/// The open files of one database.
#[derive(Debug)]
pub struct OpenFiles {
    database: OpenFile,
    log: OpenFile,
    index: OpenFile,
    /// SQLite has no locks on the log, so a second descriptor may be closed at any time.
    log_file: File,
    /// Never closed: SQLite's locks on the index would end with the first descriptor that is.
    index_file: ManuallyDrop<File>,
    locks: Arc<Locks>,
    seen: Mutex<Seen>,
}

#[derive(Debug)]
struct OpenFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

/// What the files held at the last check.
#[derive(Debug, Default)]
struct Seen {
    /// In the file itself, not in the log.
    stamp: i32,
    /// The last stamp that a transaction may have written.
    newest_stamp: i32,
    /// On the disk for good.
    synced_stamp: Option<i32>,
    stamped_at: Option<Instant>,
    /// Where pages begin that were at the end of the file, the oldest one first.
    tail: VecDeque<u64>,
    tail_at: Option<Instant>,
}

/// What the index says of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogHead {
    salts: [u8; SALTS_BYTES],
    bytes: u64,
}

impl OpenFiles {
    /// The files of `database`, all of which SQLite has open. `newest_stamp` is the one that a reader sees.
    pub fn new(
        database: &Path,
        locks: Arc<Locks>,
        newest_stamp: i32,
        synced_stamp: Option<i32>,
    ) -> Result<Self, StoreError> {
        let (log, index) = (log_file(database), beside(database, "-shm"));
        let open = |path: &Path| File::open(path).map_err(|error| cannot_open(path, &error));
        let files = Self {
            database: OpenFile::at(database.to_owned())?,
            log_file: open(&log)?,
            log: OpenFile::at(log)?,
            index_file: ManuallyDrop::new(open(&index)?),
            index: OpenFile::at(index)?,
            locks,
            seen: Mutex::default(),
        };
        let stamp = files.stamp_on_disk().unwrap_or(newest_stamp);
        *files.seen() = Seen {
            stamp,
            newest_stamp,
            synced_stamp,
            ..Seen::default()
        };
        Ok(files)
    }

    /// Checks that the paths lead to the open files, and that nobody has put other content into them.
    ///
    /// # Errors
    /// `Replaced`.
    pub fn check(&self) -> Result<(), StoreError> {
        self.database.check_place()?;
        self.log.check_place()?;
        self.index.check_place()?;
        self.check_database()?;
        self.check_log()
    }

    /// The stamp that the next transaction has to write; `None` if the last one is recent.
    pub fn next_stamp(&self) -> Option<i32> {
        let mut seen = self.seen();
        let step = match seen.stamped_at {
            Some(at) if at.elapsed() < STAMP_INTERVAL => return None,
            Some(_) => 1,
            None => fastrand::i32(1..=FIRST_STEP_MAX),
        };
        // After 68 years of writing there is no stamp left, and none is written any more.
        let next = seen.newest_stamp.checked_add(step)?;
        seen.newest_stamp = next;
        seen.stamped_at = Some(Instant::now());
        Some(next)
    }

    /// The stamp in the database file; what a checkpoint that is complete has left there is on the disk.
    pub fn stamp_on_disk(&self) -> Option<i32> {
        read_stamp(self.locks.database()?).ok()
    }

    /// Notes what a complete checkpoint has left: `stamp`, which was in the file when it began, is on the disk for good.
    pub fn checkpointed(&self, stamp: Option<i32>) {
        let mut seen = self.seen();
        seen.synced_stamp = seen.synced_stamp.max(stamp);
        let is_recent = seen.tail_at.is_some_and(|at| at.elapsed() < TAIL_INTERVAL);
        let (false, Some(file)) = (is_recent, self.locks.database()) else {
            return;
        };
        let bytes = file.metadata().map_or(0, |found| found.len());
        let page = bytes.saturating_sub(PAGE_BYTES);
        if seen.tail.contains(&page) || !is_page(file, page) {
            return;
        }
        if seen.tail.len() == TAIL_PAGES {
            seen.tail.pop_front();
        }
        seen.tail.push_back(page);
        seen.tail_at = Some(Instant::now());
    }

    /// For the high-water mark.
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

    /// Whoever writes to the log changes the log first and its index then, so the index never says more than there is.
    fn check_log(&self) -> Result<(), StoreError> {
        for _ in 0..READS {
            let Some(said) = self.read_index()? else {
                return Ok(());
            };
            if self.log_has(&said)? {
                return Ok(());
            }
            // It may have begun again between the two.
            if self.read_index()? == Some(said) {
                return Err(self.log.overwritten());
            }
        }
        Ok(())
    }

    fn log_has(&self, said: &LogHead) -> Result<bool, StoreError> {
        let mut salts = [0; SALTS_BYTES];
        let read = self.log_file.read_exact_at(&mut salts, LOG_SALTS_OFFSET);
        match read.and_then(|()| self.log_file.metadata()) {
            Ok(found) => Ok(salts == said.salts && found.len() >= said.bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(StoreError::DiskFailed(error.to_string())),
        }
    }

    /// `None` while nothing is in the log, or while the index is being written.
    fn read_index(&self) -> Result<Option<LogHead>, StoreError> {
        let mut heads = [0; 2 * INDEX_HEAD_BYTES];
        self.index_file
            .read_exact_at(&mut heads, 0)
            .map_err(|error| StoreError::DiskFailed(error.to_string()))?;
        let (head, second) = heads.split_at(INDEX_HEAD_BYTES);
        Ok((head == second).then(|| log_head(head)).flatten())
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

/// The stamp of the database in `file`, without its log.
pub fn read_stamp(file: &File) -> io::Result<i32> {
    let mut stamp = [0; 4];
    file.read_exact_at(&mut stamp, STAMP_OFFSET)?;
    Ok(i32::from_be_bytes(stamp))
}

/// Whether there is a page at `offset`, and not a hole or the end of the file.
fn is_page(file: &File, offset: u64) -> bool {
    let mut head = [0; PAGE_HEAD_BYTES];
    file.read_exact_at(&mut head, offset).is_ok() && head.iter().any(|byte| *byte != 0)
}

/// What a header of the index says, in the byte order of the machine; `None` if the log is empty.
fn log_head(head: &[u8]) -> Option<LogHead> {
    let half = |at: usize| Some(u16::from_ne_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (page, frames) = (u64::from(half(14)?), u64::from(word(16)?));
    // 1 is 65536.
    let page = if page == 1 { 1 << 16 } else { page };
    let salts = head.get(32..32 + SALTS_BYTES)?.try_into().ok()?;
    let bytes = LOG_HEAD_BYTES + frames * (FRAME_HEAD_BYTES + page);
    (frames > 0).then_some(LogHead { salts, bytes })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_says_how_long_the_log_is_and_which_salts_it_has() {
        let mut head = [0; INDEX_HEAD_BYTES];
        head[14..16].copy_from_slice(&4096_u16.to_ne_bytes());
        assert_eq!(log_head(&head), None, "an empty log");
        head[16..20].copy_from_slice(&3_u32.to_ne_bytes());
        head[32..40].copy_from_slice(b"saltsalt");
        let wanted = LogHead {
            salts: *b"saltsalt",
            bytes: 32 + 3 * (24 + 4096),
        };
        assert_eq!(log_head(&head), Some(wanted));
    }
}
