//! The unfinished folder of a backup (`NAME.unfinished-…`), beside the final path. The process that
//! fills it holds a lock on it. So the next backup to the same path can recognize and remove
//! folders that killed processes left.

use std::ffi::OsStr;
use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::manifest::{self, Manifest};
use crate::files::{self, beside, folder_of, sync_folder};

/// Stands between the name of the backup and 8 hex digits.
const UNFINISHED: &str = ".unfinished-";

/// Attempts to create the folder. Another backup may remove a new folder before it is locked, at
/// most once for each backup that starts at that moment.
const MAKE_ATTEMPTS: u32 = 8;

/// Attempts to remove a folder. A file that SQLite creates meanwhile keeps the folder from being
/// removed. SQLite creates few.
const REMOVE_ATTEMPTS: u32 = 8;

/// The unfinished folder. It is removed when dropped, unless it became the backup.
#[derive(Debug)]
pub struct Draft {
    pub folder: PathBuf,
    is_whole: bool,
    /// `None` where a folder cannot be locked, as on NFS. Then no other process can lock it either,
    /// so none removes it.
    _lock: Option<File>,
}

impl Draft {
    /// Creates an empty folder for the backup `path`, and removes those that killed processes left.
    pub fn make(path: &Path) -> io::Result<Self> {
        remove_abandoned(path);
        for _ in 0..MAKE_ATTEMPTS {
            let folder = beside(path, &format!("{UNFINISHED}{:08x}", fastrand::u32(..)));
            DirBuilder::new().mode(0o700).create(&folder)?;
            let Ok(file) = File::open(&folder) else {
                continue;
            };
            let lock = match file.try_lock() {
                Ok(()) => Some(file),
                Err(fs::TryLockError::WouldBlock) => continue,
                Err(fs::TryLockError::Error(_)) => None,
            };
            // Another backup may have removed the folder before it was locked.
            if folder.try_exists()? {
                return Ok(Self {
                    folder,
                    is_whole: false,
                    _lock: lock,
                });
            }
        }
        Err(io::Error::other("too many backups begin at once"))
    }

    /// Writes the manifest, syncs everything, and renames the folder to `path`.
    pub fn finish(mut self, manifest: &Manifest, path: &Path) -> io::Result<()> {
        let mut text = serde_json::to_vec_pretty(manifest)?;
        text.push(b'\n');
        files::write(&self.folder.join(manifest::NAME), &text)?;
        for file in &manifest.files {
            File::open(self.folder.join(&file.name))?.sync_all()?;
        }
        sync_folder(&self.folder)?;
        match renameat_with(CWD, &self.folder, CWD, path, RenameFlags::NOREPLACE) {
            // This file system does not support `RENAME_NOREPLACE`.
            Err(Errno::INVAL | Errno::NOSYS) if path.symlink_metadata().is_err() => {
                fs::rename(&self.folder, path)?;
            }
            renamed => renamed?,
        }
        self.is_whole = true;
        sync_folder(&folder_of(path))
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = remove(&self.folder);
        }
    }
}

/// Removes the unfinished folders of `path` that no process is filling. Errors are ignored, because
/// a leftover folder does no harm.
fn remove_abandoned(path: &Path) {
    let entries = fs::read_dir(folder_of(path)).into_iter().flatten();
    let of_path = |name: &OsStr| {
        let rest = name.as_bytes().strip_prefix(path.file_name()?.as_bytes())?;
        let digits = rest.strip_prefix(UNFINISHED.as_bytes())?;
        (digits.len() == 8 && digits.iter().all(u8::is_ascii_hexdigit)).then_some(())
    };
    for entry in entries.flatten() {
        let is_folder = entry.file_type().is_ok_and(|kind| kind.is_dir());
        if is_folder
            && of_path(&entry.file_name()).is_some()
            && let Ok(lock) = File::open(entry.path())
            && lock.try_lock().is_ok()
        {
            let _ = remove(&entry.path());
        }
    }
}

fn remove(folder: &Path) -> io::Result<()> {
    let mut removed = fs::remove_dir_all(folder);
    for _ in 1..REMOVE_ATTEMPTS {
        match &removed {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {
                removed = fs::remove_dir_all(folder);
            }
            _ => break,
        }
    }
    removed
}
