//! Checks whether the write-ahead log that this process has open was overwritten. The log is
//! compared with its index, which says how long the log is and which salts its header has.

use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::unix::fs::FileExt as _;
use std::path::Path;

use super::files::cannot_open;
use crate::store::StoreError;

/// The offset of the salts in the header of the log, and their length.
const LOG_SALTS_OFFSET: u64 = 16;
const SALTS_BYTES: usize = 8;

/// The header of the log, and of each page in it.
const LOG_HEAD_BYTES: u64 = 32;
const FRAME_HEAD_BYTES: u64 = 24;

/// The header of the index, which is stored twice. See <https://www.sqlite.org/walformat.html>.
const INDEX_HEAD_BYTES: usize = 48;

/// How often the log and its index are read until they agree. Another thread may be writing.
const READS: usize = 16;

/// Second descriptors of a log and of its index.
#[derive(Debug)]
pub struct OpenLog {
    /// Closing this descriptor is safe, because SQLite holds no locks on the log.
    log: File,
    /// Never closed. Closing any descriptor of the index would release SQLite's locks on it.
    index: ManuallyDrop<File>,
}

/// The state of the log according to its index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct LogHead {
    salts: [u8; SALTS_BYTES],
    bytes: u64,
}

impl OpenLog {
    pub fn new(log: &Path, index: &Path) -> Result<Self, StoreError> {
        let open = |path: &Path| File::open(path).map_err(|error| cannot_open(path, &error));
        Ok(Self {
            log: open(log)?,
            index: ManuallyDrop::new(open(index)?),
        })
    }

    /// Returns whether the log is the one that its index describes. SQLite writes the log first and
    /// then its index, so the index never claims more than the log has.
    pub fn matches_its_index(&self) -> Result<bool, StoreError> {
        for _ in 0..READS {
            let Some(said) = self.read_index()? else {
                return Ok(true);
            };
            if self.log_has(&said)? {
                return Ok(true);
            }
            // The log may have restarted between the two reads.
            if self.read_index()? == Some(said) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn log_has(&self, said: &LogHead) -> Result<bool, StoreError> {
        let mut salts = [0; SALTS_BYTES];
        let read = self.log.read_exact_at(&mut salts, LOG_SALTS_OFFSET);
        match read.and_then(|()| self.log.metadata()) {
            Ok(found) => Ok(salts == said.salts && found.len() >= said.bytes),
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
            Err(error) => Err(StoreError::DiskFailed(error.to_string())),
        }
    }

    /// Returns `None` while the log is empty, or while the index is being written.
    fn read_index(&self) -> Result<Option<LogHead>, StoreError> {
        let mut heads = [0; 2 * INDEX_HEAD_BYTES];
        self.index
            .read_exact_at(&mut heads, 0)
            .map_err(|error| StoreError::DiskFailed(error.to_string()))?;
        let (head, second) = heads.split_at(INDEX_HEAD_BYTES);
        Ok((head == second).then(|| log_head(head)).flatten())
    }
}

/// Parses a header of the index, which is in the machine's byte order. `None` if the log is empty.
fn log_head(head: &[u8]) -> Option<LogHead> {
    let half = |at: usize| Some(u16::from_ne_bytes(head.get(at..at + 2)?.try_into().ok()?));
    let word = |at: usize| Some(u32::from_ne_bytes(head.get(at..at + 4)?.try_into().ok()?));
    let (page, frames) = (u64::from(half(14)?), u64::from(word(16)?));
    // The value 1 means 65536.
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
