//! The reserve file beside a SQLite database; it only occupies space. On a full disk SQLite can
//! neither delete rows nor fold in its log (rule F7). Releasing the reserve makes both work
//! again at once, and callbacks are accepted for a while longer.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FallocateFlags, fallocate};
use rustix::io::Errno;
use tracing::warn;

use crate::files::{self, beside};

/// The size of one write, on file systems without `fallocate`.
const CHUNK_BYTES: usize = 64 * 1024;

/// The unit of `MetadataExt::blocks`.
const BLOCK_BYTES: u64 = 512;

pub fn file(database: &Path) -> PathBuf {
    beside(database, ".ballast")
}

/// The name of the reserve file until it is complete.
fn unfinished(database: &Path) -> PathBuf {
    beside(database, ".ballast.new")
}

/// Returns whether there is a reserve file that really occupies space.
pub fn exists(database: &Path) -> bool {
    fs::symlink_metadata(file(database)).is_ok_and(|found| {
        let bytes = found.blocks().saturating_mul(BLOCK_BYTES);
        found.is_file() && found.len() > 0 && bytes >= found.len()
    })
}

/// Creates the reserve file, completely or not at all.
pub fn create(database: &Path, bytes: u64) -> io::Result<()> {
    files::replace(&file(database), files::PRIVATE, |file| fill(file, bytes))
}

/// Removes the reserve file. Returns whether that freed space.
pub fn remove(database: &Path) -> bool {
    [file(database), unfinished(database)]
        .iter()
        .map(|path| files::remove(path))
        .fold(false, |any, removed| {
            if let Err(error) = &removed {
                warn!(
                    error = %error,
                    "the reserve file {} could not be removed; remove it by hand to free space", file(database).display()
                );
            }
            any | removed.is_ok_and(|was| was)
        })
}

fn fill(file: &File, bytes: u64) -> io::Result<()> {
    match fallocate(file, FallocateFlags::empty(), 0, bytes) {
        Err(Errno::OPNOTSUPP | Errno::NOSYS) => write(file, bytes),
        allocated => Ok(allocated?),
    }
}

/// Writes random bytes, so that no file system can compress them.
fn write(mut file: &File, bytes: u64) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut left = bytes;
    while left > 0 {
        fastrand::fill(&mut chunk);
        let length = usize::try_from(left).map_or(CHUNK_BYTES, |left| left.min(CHUNK_BYTES));
        file.write_all(&chunk[..length])?;
        left -= length as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const BYTES: u64 = 300_000;

    #[test]
    fn it_takes_room_for_us_alone_and_is_gone_when_removed() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("receiver.db");
        assert!(!exists(&database));
        create(&database, BYTES).unwrap();
        assert!(exists(&database));
        let found = fs::metadata(file(&database)).unwrap();
        assert_eq!((found.len(), found.mode() & 0o777), (BYTES, 0o600));
        assert!(remove(&database));
        assert!(!exists(&database) && !remove(&database));
    }

    #[test]
    fn a_file_of_holes_is_none_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("receiver.db");
        File::create(file(&database))
            .unwrap()
            .set_len(BYTES)
            .unwrap();
        assert!(!exists(&database));
        create(&database, BYTES).unwrap();
        assert!(exists(&database));
    }

    #[test]
    fn a_symlink_is_replaced_and_what_it_points_to_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let (database, other) = (folder.path().join("a.db"), folder.path().join("other"));
        fs::write(&other, "ours").unwrap();
        symlink(&other, file(&database)).unwrap();
        symlink(&other, unfinished(&database)).unwrap();
        assert!(!exists(&database));
        create(&database, BYTES).unwrap();
        assert!(exists(&database));
        assert_eq!(fs::read_to_string(&other).unwrap(), "ours");
    }

    #[test]
    fn what_cannot_be_allocated_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("written");
        write(&File::create(&path).unwrap(), BYTES).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().len(), BYTES);
    }
}
