//! The files of a SQLite store: their names and their real paths.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::files::{PRIVATE, beside, folder_of};
use crate::store::StoreError;

/// The limit of symlinks in a chain, as in the kernel.
const SYMLINKS_MAX: usize = 40;

/// SQLite's write-ahead log.
pub fn log_file(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// The rollback journal. SQLite writes one while it creates a database, before there is a
/// write-ahead log. A process that is killed then leaves it behind.
pub fn journal_file(database: &Path) -> PathBuf {
    beside(database, "-journal")
}

/// The file whose lock says that the store is in use.
pub fn lock_file(database: &Path) -> PathBuf {
    beside(database, ".lock")
}

/// Creates an empty file unless it exists. To SQLite, an empty file is an empty database.
pub fn make_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(PRIVATE)
        .open(path)
}

/// Resolves all symlinks of a path. The file need not exist, but its folder must.
pub fn real_path(path: &Path) -> io::Result<PathBuf> {
    let mut path = path.to_owned();
    for _ in 0..SYMLINKS_MAX {
        match fs::canonicalize(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            found => return found,
        }
        // A symlink may lead to a file that does not exist yet.
        match fs::read_link(&path) {
            Ok(target) => path = folder_of(&path).join(target),
            Err(_) => return in_real_folder(&path),
        }
    }
    Err(io::Error::other("too many symlinks"))
}

/// Resolves the symlinks of the folder only.
pub fn in_real_folder(path: &Path) -> io::Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| io::Error::other("not the path of a file"))?;
    Ok(fs::canonicalize(folder_of(path))?.join(name))
}

pub fn cannot_open(path: &Path, error: &io::Error) -> StoreError {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => StoreError::Full,
        _ => StoreError::CannotOpen {
            path: path.display().to_string(),
            reason: error.to_string(),
        },
    }
}
