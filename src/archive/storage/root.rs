//! The paths below the root of a storage in a folder: which of them are durable, which files may be
//! deleted, and how much space must stay free.

use std::fs::{self, File, Metadata};
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::fs::Access;

use super::{IDENTITY_BYTES_MAX, MARKER, StorageError, identity};
use crate::archive::Digest;
use crate::domain::timestamp::Timestamp;

/// The folder of drafts, below the root: on the same file system, so that a rename is atomic.
const DRAFTS: &str = "tmp";

#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    /// Bytes of the file system that stay free. 0 is no limit.
    min_free: u64,
    /// The folders `00` to `ff` that this process has made durable. A folder that exists may be
    /// the work of a process that was killed before it synced the root.
    durable: [AtomicBool; 256],
    /// Held while a file gets its name, and while an old file is deleted. So a file that is stored
    /// again is not deleted for its former age.
    placing: Mutex<()>,
}

impl Root {
    /// Creates the folders that are missing.
    pub fn create(path: PathBuf, min_free: u64) -> Result<Self, StorageError> {
        let drafts = path.join(DRAFTS);
        let missing = drafts.ancestors().take_while(|folder| !folder.exists());
        let missing = missing.count();
        make_folders(&drafts)?;
        // The folders above those that were made have new entries. The root and its parent are
        // synced even if nothing was made: a process that made them may have been killed.
        let above = drafts.ancestors().skip(1).take(missing.max(2));
        for (depth, folder) in above.enumerate() {
            match sync_folder(folder) {
                // It is not ours, so perhaps it cannot be opened.
                Err(error) if depth >= missing && is_denied(&error) => {}
                synced => synced?,
            }
        }
        Ok(Self {
            path,
            min_free,
            durable: [const { AtomicBool::new(false) }; 256],
            placing: Mutex::new(()),
        })
    }

    /// Whether `create` and writing would work. Changes nothing.
    pub fn look(path: &Path) -> Result<(), StorageError> {
        let failed = StorageError::io("write to");
        for wanted in [path, &path.join(DRAFTS)] {
            // The parent of a relative path with one component is the empty path.
            let nearest = wanted.ancestors().find(|folder| folder.exists());
            let nearest = nearest.unwrap_or(Path::new("."));
            if !nearest.is_dir() {
                return Err(failed(ErrorKind::NotADirectory.into()));
            }
            rustix::fs::access(nearest, Access::WRITE_OK | Access::EXEC_OK)
                .map_err(|errno| failed(errno.into()))?;
        }
        Ok(())
    }

    pub fn drafts(&self) -> PathBuf {
        self.path.join(DRAFTS)
    }

    /// The folder of the files whose digests start with `first`.
    pub fn folder(&self, first: u8) -> PathBuf {
        self.path.join(format!("{first:02x}"))
    }

    pub fn file(&self, digest: Digest) -> PathBuf {
        let name = digest.to_string();
        self.path.join(&name[..2]).join(&name[2..])
    }

    /// Refuses if the storage is not there, for example because its volume is not mounted. Then
    /// no file counts as missing.
    pub fn require(&self) -> Result<(), StorageError> {
        let found = fs::metadata(self.drafts());
        found.map(|_| ()).map_err(StorageError::io("find"))
    }

    /// The error of opening a kept file.
    pub fn opening(&self, source: io::Error) -> StorageError {
        if source.kind() != ErrorKind::NotFound {
            return StorageError::io("read from")(source);
        }
        self.require().err().unwrap_or(StorageError::NotFound)
    }

    pub fn bytes_free(&self) -> Result<u64, StorageError> {
        let found = rustix::fs::statvfs(&self.path)
            .map_err(|errno| StorageError::io("measure")(errno.into()))?;
        Ok(found.f_bavail.saturating_mul(found.f_frsize))
    }

    /// Refuses if less than `min_free` would be free after `bytes` more.
    pub fn require_space(&self, bytes: u64) -> Result<(), StorageError> {
        if self.min_free > 0 && self.bytes_free()? < self.min_free.saturating_add(bytes) {
            return Err(StorageError::Full);
        }
        Ok(())
    }

    /// Renames a draft to its digest. Returns the folder of the file, which is not synced yet.
    pub fn place(&self, draft: &Path, digest: Digest) -> Result<PathBuf, StorageError> {
        let first = digest.as_bytes()[0];
        let folder = self.make_durable_folder(first)?;
        let rename = || {
            let _placing = self.lock();
            // A file that exists already has the same bytes. It is replaced all the same: it
            // becomes young again, so that a sweep of old files without a record spares it, and
            // damage to it is repaired.
            fs::rename(draft, self.file(digest))
        };
        let renamed = match rename() {
            // Somebody has deleted the folder.
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.durable[usize::from(first)].store(false, Ordering::Release);
                self.make_durable_folder(first)?;
                rename()
            }
            renamed => renamed,
        };
        renamed.map_err(StorageError::io("write to"))?;
        Ok(folder)
    }

    /// Deletes a file that was stored before `before`. Returns whether it did.
    pub fn delete_older(&self, digest: Digest, before: Timestamp) -> Result<bool, StorageError> {
        let path = self.file(digest);
        let _placing = self.lock();
        match fs::metadata(&path) {
            Ok(found) if modified_at(&found) < before => remove(&path),
            Ok(_) => Ok(false),
            Err(error) => match self.opening(error) {
                StorageError::NotFound => Ok(false),
                error => Err(error),
            },
        }
    }

    pub fn identity(&self) -> Result<Option<String>, StorageError> {
        let file = match File::open(self.path.join(MARKER)) {
            Ok(file) => file,
            Err(error) => {
                return match self.opening(error) {
                    StorageError::NotFound => Ok(None),
                    error => Err(error),
                };
            }
        };
        let mut bytes = Vec::new();
        file.take(IDENTITY_BYTES_MAX + 1)
            .read_to_end(&mut bytes)
            .map_err(StorageError::io("read from"))?;
        identity(&bytes).map(Some)
    }

    /// Gives `draft` the name of the marker, unless there is one. Returns whether it did.
    pub fn place_marker(&self, draft: &Path) -> Result<bool, StorageError> {
        let marker = self.path.join(MARKER);
        let _placing = self.lock();
        if marker.exists() {
            return Ok(false);
        }
        fs::rename(draft, marker).map_err(StorageError::io("write to"))?;
        sync_folder(&self.path)?;
        Ok(true)
    }

    fn make_durable_folder(&self, first: u8) -> Result<PathBuf, StorageError> {
        let folder = self.folder(first);
        let durable = &self.durable[usize::from(first)];
        if !durable.load(Ordering::Acquire) {
            make_folders(&folder)?;
            sync_folder(&self.path)?;
            durable.store(true, Ordering::Release);
        }
        Ok(folder)
    }

    /// Keeps files from being placed and from being deleted for their age.
    pub fn lock(&self) -> MutexGuard<'_, ()> {
        self.placing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn make_folders(folder: &Path) -> Result<(), StorageError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(StorageError::io("create"))
}

pub(super) fn sync_folder(folder: &Path) -> Result<(), StorageError> {
    // The parent of a relative path with one component is the empty path.
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    File::open(folder)
        .and_then(|folder| folder.sync_all())
        .map_err(StorageError::io("sync"))
}

fn is_denied(error: &StorageError) -> bool {
    let StorageError::Folder { source, .. } = error else {
        return false;
    };
    source.kind() == ErrorKind::PermissionDenied
}

/// Returns false if there was nothing to remove.
pub(super) fn remove(path: &Path) -> Result<bool, StorageError> {
    match fs::remove_file(path) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StorageError::io("delete from")(error)),
    }
}

pub(super) fn modified_at(metadata: &Metadata) -> Timestamp {
    let millis = metadata.mtime_nsec() / 1_000_000;
    Timestamp::from_millis(metadata.mtime().saturating_mul(1000).saturating_add(millis))
}
