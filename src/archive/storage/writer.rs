//! Writes one file, with a bounded amount of memory.

use std::fs::File;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::BoxStream;

use super::StorageError;
use super::bucket::Bucket;
use super::draft::Draft;
use super::folder::{self, blocking};
use super::stored::Stored;
use super::upload::Upload;

/// The size of one write to a folder. Each write runs on another thread, which costs some
/// microseconds.
const BLOCK_BYTES: usize = 256 * 1024;

/// A new file. If the writer is dropped, nothing is kept. But if the process ends before an upload
/// in parts is aborted, its parts stay in the bucket until a lifecycle rule deletes them.
pub struct Writer(Target);

enum Target {
    Folder {
        /// `None` after an error.
        draft: Option<Draft>,
        block: Vec<u8>,
    },
    Bucket(Box<Upload>),
}

/// A file in a folder that can be read while it is written. It stays readable after it was placed
/// or deleted.
#[derive(Clone)]
pub struct Growing(Arc<File>);

impl Growing {
    /// Reads bytes that have been written.
    pub fn chunks(&self, range: Range<u64>) -> BoxStream<'static, Result<Bytes, StorageError>> {
        folder::chunks(Arc::clone(&self.0), range)
    }
}

impl Writer {
    pub(super) fn to_folder(draft: Draft) -> Self {
        Self(Target::Folder {
            draft: Some(draft),
            block: Vec::new(),
        })
    }

    pub(super) fn to_bucket(bucket: Bucket) -> Self {
        Self(Target::Bucket(Box::new(Upload::new(bucket))))
    }

    /// Sets the type under which a browser gets the file from the bucket itself. It must be known
    /// before the first 5 MiB are written. A folder keeps no types.
    pub fn set_content_type(&mut self, content_type: &'static str) {
        match &mut self.0 {
            Target::Folder { .. } => {}
            Target::Bucket(upload) => upload.set_content_type(content_type),
        }
    }

    /// Refuses a file of this length if it does not fit above the free space that must stay.
    ///
    /// # Errors
    /// `Full`. A bucket is never full.
    pub async fn require_space(&mut self, bytes_total: u64) -> Result<(), StorageError> {
        match &self.0 {
            Target::Folder { draft, .. } => {
                let draft = draft.as_ref().ok_or_else(given_up)?;
                let root = Arc::clone(draft.root());
                blocking(move || root.require_space(bytes_total)).await
            }
            Target::Bucket(_) => Ok(()),
        }
    }

    /// Appends `chunk`. After an error the file cannot be finished.
    pub async fn write(&mut self, chunk: Bytes) -> Result<(), StorageError> {
        match &mut self.0 {
            Target::Folder { draft, block } => {
                block.extend_from_slice(&chunk);
                if block.len() >= BLOCK_BYTES {
                    append(draft, block).await?;
                }
                Ok(())
            }
            Target::Bucket(upload) => upload.write(&chunk).await,
        }
    }

    /// The file while it grows. `None` in a bucket, where nothing can be read before the end.
    pub fn growing(&self) -> Option<Growing> {
        match &self.0 {
            Target::Folder { draft, .. } => {
                let draft = draft.as_ref()?;
                Some(Growing(Arc::clone(draft.file())))
            }
            Target::Bucket(_) => None,
        }
    }

    /// The bytes that `growing` has so far.
    pub fn bytes_readable(&self) -> u64 {
        match &self.0 {
            Target::Folder { draft, .. } => draft.as_ref().map_or(0, Draft::bytes),
            Target::Bucket(_) => 0,
        }
    }

    /// Makes the bytes that were written readable. Does nothing for a bucket.
    pub async fn flush(&mut self) -> Result<(), StorageError> {
        match &mut self.0 {
            Target::Folder { draft, block } if !block.is_empty() => append(draft, block).await,
            Target::Folder { .. } | Target::Bucket(_) => Ok(()),
        }
    }

    /// Makes the file visible. When this returns, the file is whole and durable.
    ///
    /// # Errors
    /// Nothing is visible, unless the storage failed at the very end: then the whole file may be.
    pub async fn finish(self) -> Result<Stored, StorageError> {
        match self.0 {
            Target::Folder { draft, block } => {
                let mut draft = draft.ok_or_else(given_up)?;
                blocking(move || {
                    draft.append(&block)?;
                    draft.place()
                })
                .await
            }
            Target::Bucket(upload) => upload.finish().await,
        }
    }

    /// Deletes what was written.
    pub async fn abort(self) {
        match self.0 {
            Target::Folder { draft, .. } => {
                let _ = blocking(move || {
                    drop(draft);
                    Ok(())
                })
                .await;
            }
            Target::Bucket(upload) => upload.abort().await,
        }
    }
}

/// Writes the block on another thread. The draft is moved there and back, so that it is dropped and
/// deleted if the caller stops waiting.
async fn append(draft: &mut Option<Draft>, block: &mut Vec<u8>) -> Result<(), StorageError> {
    let mut moved = draft.take().ok_or_else(given_up)?;
    let mut bytes = std::mem::take(block);
    let (moved, bytes) = blocking(move || {
        moved.append(&bytes)?;
        bytes.clear();
        Ok((moved, bytes))
    })
    .await?;
    *draft = Some(moved);
    *block = bytes;
    Ok(())
}

fn given_up() -> StorageError {
    StorageError::io("write to")(std::io::Error::other("an earlier write failed"))
}
