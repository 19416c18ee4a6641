//! The files of a SQLite store: their names and permissions.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use crate::store::StoreError;

/// The limit of symlinks in a chain, as in the kernel.
const SYMLINKS_MAX: usize = 40;

/// The database and the files beside it contain prompts, so only our own user may read them.
pub const FILE_MODE: u32 = 0o600;

/// Returns the path of a file beside the database; `suffix` is appended to its name.
pub fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

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
        .mode(FILE_MODE)
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

pub fn folder_of(path: &Path) -> PathBuf {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder.to_owned(),
        _ => PathBuf::from("."),
    }
}

pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
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
