//! The locks that prevent a second process from opening a SQLite store. The system releases them
//! when the process ends, however it ends.
//!
//! The lock that counts is on the database file itself. So it holds whatever name a process uses
//! for the file: a hard link, a symlink. A file beside the database is locked too, because releases
//! up to 0.1.0 lock nothing else.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FsWord, fstatfs};

use super::files::{cannot_open, in_real_folder, lock_file, make_file};
use crate::store::StoreError;

/// Network file systems that turn `flock` into a lock of all bytes of the file: NFS, SMB 1 and 2,
/// 9p. It would conflict with SQLite's own locks of a few bytes.
const FLOCK_LOCKS_BYTES: [FsWord; 4] = [0x6969, 0xff53_4d42, 0xfe53_4d42, 0x0102_1997];

/// The open files that carry the locks.
///
/// The descriptor of the database must be opened before SQLite opens the file, and closed after
/// SQLite has closed it. When a process closes any descriptor of a file, it loses all its POSIX
/// locks on that file, and those are SQLite's.
#[derive(Debug)]
pub struct Locks {
    beside: Vec<File>,
    database: Option<File>,
}

impl Locks {
    /// Locks the store in the file `real`, which the configuration calls `given`. The database need
    /// not exist yet.
    ///
    /// # Errors
    /// `InUse` if another process has a lock, `CannotOpen`.
    pub fn take(given: &Path, real: &Path) -> Result<Self, StoreError> {
        let beside = lock_file(real);
        let file = make_file(&beside).map_err(|error| cannot_open(&beside, &error))?;
        lock(&file, real)?;
        let mut locks = Self {
            beside: vec![file],
            database: None,
        };
        // A release up to 0.1.0 locks a file beside the name that it was given. Where that file
        // cannot be created, no such release has run. It may be the same file under another name: a
        // caller that has just created the folder could not resolve `real`.
        if let Some(other) = other_lock_file(given, real)
            && let Ok(file) = make_file(&other)
            && !is_same_file(&file, &locks.beside[0])
        {
            lock(&file, real)?;
            locks.beside.push(file);
        }
        match OpenOptions::new().read(true).write(true).open(real) {
            Ok(file) => locks.take_database(file, real)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(cannot_open(real, &error)),
        }
        Ok(locks)
    }

    /// Creates the database unless it exists, and locks the new file.
    pub fn make_database(&mut self, real: &Path) -> Result<(), StoreError> {
        if self.database.is_some() {
            return Ok(());
        }
        // SQLite would create a file that everybody may read. The log and its index get the mode of
        // the database.
        let file = make_file(real).map_err(|error| cannot_open(real, &error))?;
        self.take_database(file, real)
    }

    fn take_database(&mut self, file: File, real: &Path) -> Result<(), StoreError> {
        if !FLOCK_LOCKS_BYTES.contains(&file_system(&file)) {
            lock(&file, real)?;
        }
        self.database = Some(file);
        self.check_place(real)?;
        check_names(real)
    }

    /// Returns the database file, once it exists.
    pub const fn database(&self) -> Option<&File> {
        self.database.as_ref()
    }

    /// Returns whether the lock file beside `real` is still the one that this process has locked. A
    /// folder that was put in the place of another has its own.
    pub fn has_folder(&self, real: &Path) -> bool {
        let ours = self.beside.first().and_then(|file| file.metadata().ok());
        let there = fs::metadata(lock_file(real)).ok();
        matches!((ours, there), (Some(ours), Some(there)) if identity(&ours) == identity(&there))
    }

    /// Checks that the path still leads to the locked file.
    pub fn check_place(&self, real: &Path) -> Result<(), StoreError> {
        let Some(file) = &self.database else {
            return Ok(());
        };
        let ours = file.metadata().map(|found| identity(&found));
        let there = fs::metadata(real).map(|found| identity(&found));
        match (ours, there) {
            (Ok(ours), Ok(there)) if ours == there => Ok(()),
            (Err(error), _) | (_, Err(error)) => Err(cannot_open(real, &error)),
            (Ok(_), Ok(_)) => Err(StoreError::CannotOpen {
                path: real.display().to_string(),
                reason: "the file was replaced while it was being opened".to_owned(),
            }),
        }
    }
}

/// Refuses a database that has hard links: SQLite's write-ahead log lies beside the name by which
/// the database was opened.
pub fn check_names(database: &Path) -> Result<(), StoreError> {
    match fs::metadata(database).map(|found| found.nlink()) {
        Ok(names) if names > 1 => Err(StoreError::SeveralNames {
            path: database.display().to_string(),
            names,
        }),
        _ => Ok(()),
    }
}

/// Lists the files whose locks say that the store in `given` is in use. Takes no lock.
pub fn lock_files(given: &Path, real: &Path) -> Vec<PathBuf> {
    let mut files = vec![real.to_owned(), lock_file(real)];
    files.extend(other_lock_file(given, real));
    files
}

/// Returns the lock file beside the given name, if that is another place.
fn other_lock_file(given: &Path, real: &Path) -> Option<PathBuf> {
    let other = lock_file(&in_real_folder(given).ok()?);
    (other != lock_file(real)).then_some(other)
}

fn is_same_file(one: &File, other: &File) -> bool {
    let (one, other) = (one.metadata(), other.metadata());
    matches!((one, other), (Ok(one), Ok(other)) if identity(&one) == identity(&other))
}

fn identity(found: &fs::Metadata) -> (u64, u64) {
    (found.dev(), found.ino())
}

fn file_system(file: &File) -> FsWord {
    fstatfs(file).map_or(0, |found| found.f_type)
}

fn lock(file: &File, database: &Path) -> Result<(), StoreError> {
    match file.try_lock() {
        Ok(()) => Ok(()),
        Err(TryLockError::WouldBlock) => Err(StoreError::InUse {
            path: database.display().to_string(),
        }),
        Err(TryLockError::Error(error)) => Err(cannot_open(database, &error)),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::store::engine::sqlite::files::real_path;

    #[test]
    fn a_file_that_was_replaced_while_it_was_opened_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let database = folder.path().join("receiver.db");
        let mut locks = Locks::take(&database, &database).unwrap();
        locks.make_database(&database).unwrap();
        locks.check_place(&database).unwrap();
        fs::rename(&database, folder.path().join("old")).unwrap();
        assert!(locks.check_place(&database).is_err(), "gone");
        fs::write(&database, "").unwrap();
        let replaced = locks.check_place(&database).unwrap_err();
        assert!(replaced.to_string().contains("was replaced"), "{replaced}");
    }

    #[test]
    fn a_lock_file_with_two_names_is_locked_once() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("data")).unwrap();
        symlink("data", folder.path().join("linked")).unwrap();
        let unresolved = folder.path().join("linked/receiver.db");
        let locks = Locks::take(&unresolved, &unresolved).unwrap();
        assert!(
            Locks::take(&unresolved, &unresolved).is_err(),
            "a second one"
        );
        drop(locks);
        Locks::take(&unresolved, &unresolved).unwrap();
    }

    #[test]
    fn a_path_is_followed_to_the_file_whether_it_exists_or_not() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        let root = fs::canonicalize(folder.path()).unwrap();
        fs::create_dir(at("data")).unwrap();
        symlink("data", at("linked")).unwrap();
        symlink("linked/real.db", at("first")).unwrap();
        symlink("first", at("second")).unwrap();
        symlink("loop", at("loop")).unwrap();
        let wanted = root.join("data/real.db");
        for name in ["data/real.db", "linked/real.db", "first", "second"] {
            assert_eq!(real_path(&at(name)).unwrap(), wanted, "{name}");
        }
        fs::write(&wanted, "").unwrap();
        assert_eq!(real_path(&at("second")).unwrap(), wanted);
        assert!(real_path(&at("loop")).is_err());
        assert!(real_path(&at("nowhere/x.db")).is_err());
    }
}
