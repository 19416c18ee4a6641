//! A file that is being written to a folder. It gets its name once it is whole and on the disk.
//!
//! `object_store` is not used for folders. Its lists leave out the drafts of killed processes, so
//! nothing could sweep them. And a file whose name is known only at its end would be renamed twice,
//! with a sync of the folder each time.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use super::StorageError;
use super::root::{Root, modified_at, sync_folder};
use super::stored::Stored;
use crate::archive::Hasher;
use crate::domain::timestamp::Timestamp;

pub(super) const DRAFT_SUFFIX: &str = ".draft";

/// Bytes after which the free space is looked at again.
const SPACE_BYTES: u64 = 8 * 1024 * 1024;

/// A draft. Deleted when dropped, unless it was placed.
pub(super) struct Draft {
    root: Arc<Root>,
    path: PathBuf,
    file: Arc<File>,
    hasher: Hasher,
    bytes: u64,
    is_placed: bool,
}

/// Returns a new name, in a folder or in a bucket.
pub(super) fn name() -> String {
    // Do not use the process id: it is often the same in containers that share a volume.
    let (high, low) = (fastrand::u64(..), fastrand::u64(..));
    format!("{high:016x}{low:016x}{DRAFT_SUFFIX}")
}

impl Draft {
    pub fn create(root: Arc<Root>) -> Result<Self, StorageError> {
        let path = root.drafts().join(name());
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
        let length = bytes.len() as u64;
        if (self.bytes + length) / SPACE_BYTES > self.bytes / SPACE_BYTES {
            self.root.require_space(length)?;
        }
        (&*self.file)
            .write_all(bytes)
            .map_err(StorageError::io("write to"))?;
        self.hasher.update(bytes);
        self.bytes += length;
        Ok(())
    }

    pub fn root(&self) -> &Arc<Root> {
        &self.root
    }

    pub fn file(&self) -> &Arc<File> {
        &self.file
    }

    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// When it was last written, by the clock of the file system.
    pub fn modified_at(&self) -> Result<Timestamp, StorageError> {
        let found = self.file.metadata();
        let found = found.map_err(StorageError::io("read from"))?;
        Ok(modified_at(&found))
    }

    /// Makes the file visible under its digest, and durable.
    pub fn place(mut self) -> Result<Stored, StorageError> {
        self.file.sync_all().map_err(StorageError::io("sync"))?;
        let sha256 = std::mem::take(&mut self.hasher).finish();
        let folder = self.root.place(&self.path, sha256)?;
        self.is_placed = true;
        sync_folder(&folder)?;
        Ok(Stored {
            sha256,
            bytes: self.bytes,
        })
    }

    /// Makes it the marker of the storage, unless there is one. Returns whether it did.
    pub fn place_as_marker(mut self) -> Result<bool, StorageError> {
        self.file.sync_all().map_err(StorageError::io("sync"))?;
        self.is_placed = self.root.place_marker(&self.path)?;
        Ok(self.is_placed)
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
