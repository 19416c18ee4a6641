//! A file that is being written to a folder. It gets its name once it is whole and on the disk.
//!
//! This is our own code and not `object_store`'s: there, drafts of killed processes appear in no
//! list, so nobody could sweep them, and a file whose name is known only at its end would be
//! renamed twice, with a sync of the folder each time.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::StorageError;
use super::writer::Stored;
use crate::archive::{Digest, Hasher};

/// The folder of drafts, below the root: on the same file system, so that a rename is atomic.
const DRAFTS: &str = "tmp";
pub(super) const DRAFT_SUFFIX: &str = ".draft";

/// The paths below the root of the storage.
#[derive(Debug)]
pub(super) struct Root {
    path: PathBuf,
    /// The folders `00` to `ff` that this process has made durable. A folder that exists may be
    /// the work of a process that was killed before it synced the root.
    durable: [AtomicBool; 256],
}

/// A draft. Deleted when dropped, unless it was placed.
pub(super) struct Draft {
    root: Arc<Root>,
    path: PathBuf,
    file: Arc<File>,
    hasher: Hasher,
    bytes: u64,
    is_placed: bool,
}

impl Root {
    /// Creates the folders that are missing.
    pub fn create(path: PathBuf) -> Result<Self, StorageError> {
        let drafts = path.join(DRAFTS);
        let missing = drafts.ancestors().take_while(|folder| !folder.exists());
        let missing = missing.count();
        make_folders(&drafts)?;
        // The folders above those that were made have new entries.
        for folder in drafts.ancestors().skip(1).take(missing) {
            sync_folder(folder)?;
        }
        let durable = [const { AtomicBool::new(false) }; 256];
        Ok(Self { path, durable })
    }

    pub fn path(&self) -> &Path {
        &self.path
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
}

impl Draft {
    pub fn create(root: Arc<Root>) -> Result<Self, StorageError> {
        // Do not use the process id: it is often the same in containers that share a volume.
        let name = format!(
            "{:016x}{:016x}{DRAFT_SUFFIX}",
            fastrand::u64(..),
            fastrand::u64(..)
        );
        let path = root.drafts().join(name);
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .map_err(StorageError::io("write to"))?;
        Ok(Self {
            root,
            path,
            file: Arc::new(file),
            hasher: Hasher::default(),
            bytes: 0,
            is_placed: false,
        })
    }

    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StorageError> {
        (&*self.file)
            .write_all(bytes)
            .map_err(StorageError::io("write to"))?;
        self.hasher.update(bytes);
        self.bytes += bytes.len() as u64;
        Ok(())
    }

    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the file visible under its digest, and durable.
    pub fn place(mut self) -> Result<Stored, StorageError> {
        self.file.sync_all().map_err(StorageError::io("sync"))?;
        let sha256 = std::mem::take(&mut self.hasher).finish();
        let folder = self.root.make_durable_folder(sha256.as_bytes()[0])?;
        // A file that exists already has the same bytes. It is replaced all the same: it becomes
        // young again, so that a sweep of old files without a record spares it, and damage to it is
        // repaired.
        fs::rename(&self.path, self.root.file(sha256)).map_err(StorageError::io("write to"))?;
        self.is_placed = true;
        sync_folder(&folder)?;
        Ok(Stored {
            sha256,
            bytes: self.bytes,
        })
    }
}

impl Drop for Draft {
    fn drop(&mut self) {
        if !self.is_placed {
            // If it fails, the sweep deletes the draft later.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn make_folders(folder: &Path) -> Result<(), StorageError> {
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(StorageError::io("create"))
}

fn sync_folder(folder: &Path) -> Result<(), StorageError> {
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
