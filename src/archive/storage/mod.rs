//! Keeps files under the SHA-256 of their bytes: `ab/cdef…` below the root of a folder or of a
//! bucket. Equal bytes are kept once.
//!
//! A file becomes visible whole or not at all. When `Writer::finish` has returned, it survives a
//! power cut. What was not finished is a draft, which `sweep` deletes.

mod bucket;
mod draft;
mod error;
mod folder;
mod place;
#[cfg(test)]
pub(in crate::archive) mod tests;
mod upload;
mod writer;

use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use url::Url;

pub use error::StorageError;
pub use place::{BadPlace, Place};
pub use writer::{Growing, Stored, Writer};

use bucket::Bucket;
use folder::Folder;

use super::Digest;
use crate::domain::timestamp::Timestamp;

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

/// A kept file in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    pub digest: Digest,
    pub bytes: u64,
    /// When its bytes were last stored, by the clock of the storage.
    pub modified_at: Timestamp,
}

impl Storage {
    /// Opens the storage. Creates the folder if it is missing.
    ///
    /// # Errors
    /// If the folder cannot be created, or if settings of the bucket are missing or wrong. A bucket
    /// is not contacted: see `check`.
    pub async fn open(place: &Place) -> Result<Self, StorageError> {
        match place {
            Place::Folder(path) => Folder::open(path.clone()).await.map(Self::Folder),
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
    /// `NotFound`, or `RangeOutside` if the range is empty or starts behind the end of the file.
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

    /// Lists all files, in no particular order. Leaves out what is not a kept file.
    pub fn list(&self) -> BoxStream<'static, Result<Entry, StorageError>> {
        match self {
            Self::Folder(folder) => folder.list(),
            Self::Bucket(bucket) => bucket.list(),
        }
    }

    /// Deletes drafts that were last written before `before`, and returns their number. A draft
    /// that is still written to must not be older, so leave more time than the longest fetch takes.
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
    ) -> Result<Option<Url>, StorageError> {
        match self {
            Self::Folder(_) => Ok(None),
            Self::Bucket(bucket) => bucket.presign(digest, lifetime).await.map(Some),
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
