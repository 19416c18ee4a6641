//! Keeps files under the SHA-256 of their bytes: `ab/cdef…` below the root of a folder or of a
//! bucket. Equal bytes are kept once.
//!
//! A file becomes visible whole or not at all. When `Writer::finish` has returned, it survives a
//! power cut. What was not finished is a draft, which `sweep` deletes.

mod bucket;
mod draft;
mod error;
mod folder;
mod root;
mod stored;
#[cfg(test)]
pub(in crate::archive) mod tests;
mod upload;
mod writer;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use url::Url;

pub use error::StorageError;
pub use stored::Stored;
pub use writer::{Growing, Writer};

use bucket::Bucket;
use folder::Folder;

use super::Digest;
use crate::domain::result_file::Place;
use crate::domain::timestamp::Timestamp;

/// The name of the marker at the root, which says whose storage it is.
pub const MARKER: &str = ".evolink-receiver";

/// The longest identity that is read. One that we write is much shorter.
const IDENTITY_BYTES_MAX: u64 = 1024;

/// Where files are kept. All copies are the same storage.
#[derive(Clone, Debug)]
pub enum Storage {
    Folder(Folder),
    Bucket(Bucket),
}

/// A kept file that is being read.
pub struct Reading {
    /// The length of the whole file.
    pub bytes_total: u64,
    /// The bytes that `chunks` has.
    pub range: Range<u64>,
    pub chunks: BoxStream<'static, Result<Bytes, StorageError>>,
}

/// The headers of a file that a browser gets from the bucket itself.
#[derive(Clone, Copy, Debug)]
pub struct ShownAs<'a> {
    pub content_type: &'a str,
    pub content_disposition: &'a str,
}

/// A kept file in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub digest: Digest,
    pub bytes: u64,
    /// When its bytes were last stored, by the clock of the storage.
    pub modified_at: Timestamp,
}

impl Storage {
    /// Whether the storage can be used, without side effects: nothing is created. A folder that is
    /// missing can be used if it can be made. A bucket is asked for one list.
    ///
    /// # Errors
    /// If the folder cannot be written, or if the bucket cannot be listed.
    pub async fn look(place: &Place) -> Result<(), StorageError> {
        match place {
            Place::Folder(path) => Folder::look(path.clone()).await,
            Place::Bucket { name, prefix } => Bucket::open(name, prefix)?.look().await,
        }
    }

    /// Opens the storage. Creates the folder if it is missing. Files are refused with `Full` while
    /// the file system of a folder has less than `min_free` bytes free; 0 is no limit.
    ///
    /// # Errors
    /// If the folder cannot be created, or if settings of the bucket are missing or wrong. A bucket
    /// is not contacted: see `check`.
    pub async fn open(place: &Place, min_free: u64) -> Result<Self, StorageError> {
        match place {
            Place::Folder(path) => {
                let folder = Folder::open(path.clone(), min_free).await?;
                Ok(Self::Folder(folder))
            }
            Place::Bucket { name, prefix } => Bucket::open(name, prefix).map(Self::Bucket),
        }
    }

    /// Starts a new file.
    pub async fn writer(&self) -> Result<Writer, StorageError> {
        match self {
            Self::Folder(folder) => Ok(Writer::to_folder(folder.draft().await?)),
            Self::Bucket(bucket) => Ok(Writer::to_bucket(bucket.clone())),
        }
    }

    /// Reads a file, or the part of it that is inside `range`.
    ///
    /// # Errors
    /// `NotFound`, or `RangeOutside` if the range is empty or starts after the end of the file.
    pub async fn read(
        &self,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Reading, StorageError> {
        match self {
            Self::Folder(folder) => folder.read(digest, range).await,
            Self::Bucket(bucket) => bucket.read(digest, range).await,
        }
    }

    /// Returns the length of a file.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn bytes_of(&self, digest: Digest) -> Result<u64, StorageError> {
        match self {
            Self::Folder(folder) => folder.bytes_of(digest).await,
            Self::Bucket(bucket) => bucket.bytes_of(digest).await,
        }
    }

    /// Deletes a file. A file that does not exist counts as deleted.
    pub async fn delete(&self, digest: Digest) -> Result<(), StorageError> {
        match self {
            Self::Folder(folder) => folder.delete(digest).await,
            Self::Bucket(bucket) => bucket.delete(digest).await,
        }
    }

    /// Deletes a file that was last stored before `before`, by the clock of the storage. Returns
    /// whether it did. So a sweep spares a file that was stored again after it was listed.
    pub async fn delete_older(
        &self,
        digest: Digest,
        before: Timestamp,
    ) -> Result<bool, StorageError> {
        match self {
            Self::Folder(folder) => folder.delete_older(digest, before).await,
            Self::Bucket(bucket) => bucket.delete_older(digest, before).await,
        }
    }

    /// Returns the time by the clock of the storage. Writes and deletes an empty draft.
    pub async fn now(&self) -> Result<Timestamp, StorageError> {
        match self {
            Self::Folder(folder) => folder.now().await,
            Self::Bucket(bucket) => bucket.now().await,
        }
    }

    /// Returns the identity that was set. `None` if the storage has none: it is new, or it is not
    /// the storage that was meant, for example because a volume is not mounted.
    ///
    /// # Errors
    /// `Damaged` if the marker has no identity.
    pub async fn identity(&self) -> Result<Option<String>, StorageError> {
        match self {
            Self::Folder(folder) => folder.identity().await,
            Self::Bucket(bucket) => bucket.identity().await,
        }
    }

    /// Sets the identity, unless the storage has one. Returns whether it did.
    pub async fn set_identity(&self, identity: &str) -> Result<bool, StorageError> {
        match self {
            Self::Folder(folder) => folder.set_identity(identity).await,
            Self::Bucket(bucket) => bucket.set_identity(identity).await,
        }
    }

    /// Whether there is no kept file. Drafts and the marker do not count.
    pub async fn is_empty(&self) -> Result<bool, StorageError> {
        let first = self.list().try_next().await?;
        Ok(first.is_none())
    }

    /// Lists all files, in no particular order. Leaves out what is not a kept file.
    pub fn list(&self) -> BoxStream<'static, Result<Entry, StorageError>> {
        match self {
            Self::Folder(folder) => folder.list(),
            Self::Bucket(bucket) => bucket.list(),
        }
    }

    /// Deletes drafts that were last written before `before`, and returns their number. The time
    /// since `before` must be longer than any fetch takes, so that no draft in use is deleted.
    pub async fn sweep(&self, before: Timestamp) -> Result<usize, StorageError> {
        match self {
            Self::Folder(folder) => folder.sweep(before).await,
            Self::Bucket(bucket) => bucket.sweep(before).await,
        }
    }

    /// Writes, reads and deletes a small file.
    ///
    /// # Errors
    /// If any of it fails, or if the bytes that are read differ.
    pub async fn check(&self) -> Result<(), StorageError> {
        // Random, so that two processes that check at the same time do not delete each other's.
        let probe = format!(
            "evolink-receiver checks its storage: {:016x}",
            fastrand::u64(..)
        );
        let mut writer = self.writer().await?;
        writer.write(Bytes::from(probe.clone())).await?;
        let stored = writer.finish().await?;
        let read = self.read_all(stored.sha256).await;
        self.delete(stored.sha256).await?;
        if read? == probe.as_bytes() {
            Ok(())
        } else {
            Err(StorageError::Damaged)
        }
    }

    async fn read_all(&self, digest: Digest) -> Result<Vec<u8>, StorageError> {
        let mut chunks = self.read(digest, None).await?.chunks;
        let mut all = Vec::new();
        while let Some(chunk) = chunks.next().await {
            all.extend_from_slice(&chunk?);
        }
        Ok(all)
    }

    /// Returns a URL at which a browser gets the file from the bucket. `None` if the storage is a
    /// folder.
    pub async fn presign(
        &self,
        digest: Digest,
        lifetime: Duration,
        shown: ShownAs<'_>,
    ) -> Result<Option<Url>, StorageError> {
        match self {
            Self::Folder(_) => Ok(None),
            Self::Bucket(bucket) => bucket.presign(digest, lifetime, shown).await.map(Some),
        }
    }

    /// Returns the free space of the file system. `None` if the storage is a bucket.
    pub async fn bytes_free(&self) -> Result<Option<u64>, StorageError> {
        match self {
            Self::Folder(folder) => folder.bytes_free().await.map(Some),
            Self::Bucket(_) => Ok(None),
        }
    }
}

/// Returns the part of `range` that is inside a file of `bytes_total`.
fn inside(range: Option<Range<u64>>, bytes_total: u64) -> Result<Range<u64>, StorageError> {
    let Some(range) = range else {
        return Ok(0..bytes_total);
    };
    let inside = range.start..range.end.min(bytes_total);
    if inside.is_empty() {
        return Err(StorageError::RangeOutside { bytes_total });
    }
    Ok(inside)
}

/// Reads the bytes of the marker.
fn identity(bytes: &[u8]) -> Result<String, StorageError> {
    let is_short = bytes.len() as u64 <= IDENTITY_BYTES_MAX;
    match std::str::from_utf8(bytes) {
        Ok(text) if is_short && !text.trim().is_empty() => Ok(text.trim().to_owned()),
        _ => Err(StorageError::Damaged),
    }
}
