//! The files of a SQLite store: their names, who may read them, and the lock against a second process.

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::StoreError;

/// The database and what lies beside it hold prompts: they are for our own user alone.
pub const FILE_MODE: u32 = 0o600;

/// A file of ours next to the database, by what is appended to its name.
pub fn beside(database: &Path, suffix: &str) -> PathBuf {
    let mut path = database.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// SQLite's write-ahead log.
pub fn log_file(database: &Path) -> PathBuf {
    beside(database, "-wal")
}

/// The file whose lock says that the store is in use.
pub fn lock_file(database: &Path) -> PathBuf {
    beside(database, ".lock")
}

/// Makes an empty file unless it is there: to SQLite that is a database with nothing in it.
pub fn make_file(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .write(true)
        .mode(FILE_MODE)
        .open(path)
}

/// Takes the lock that keeps a second process off this store; the system lets go of it when the process ends, however.
pub fn lock(database: &Path) -> Result<File, StoreError> {
    let path = lock_file(database);
    let file = make_file(&path).map_err(|error| cannot_open(&path, &error))?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: database.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(cannot_open(&path, &error)),
    }
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
    StoreError::CannotOpen {
        path: path.display().to_string(),
        reason: error.to_string(),
    }
}
