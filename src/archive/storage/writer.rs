//! Writes one file, with a bounded amount of memory.

use bytes::Bytes;

use super::StorageError;
use super::bucket::Bucket;
use super::draft::Draft;
use super::folder::blocking;
use super::upload::Upload;
use crate::archive::Digest;

/// Bytes that are written to a folder at once: each write is a job for another thread, and costs
/// some microseconds.
const BLOCK_BYTES: usize = 256 * 1024;

/// A new file. If the writer is dropped, nothing is kept. A multipart upload that is dropped, not
/// aborted, leaves its parts in the bucket, until a lifecycle rule of the bucket deletes them.
pub struct Writer(Target);

enum Target {
    Folder {
        /// `None` after an error.
        draft: Option<Draft>,
        block: Vec<u8>,
    },
    Bucket(Box<Upload>),
}

/// A file that is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored {
    pub sha256: Digest,
    pub bytes: u64,
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

    /// Makes the file visible. When this returns, the file is whole and durable.
    ///
    /// # Errors
    /// Nothing is visible, except if the storage failed at the very end: then the whole file may be.
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

/// Writes the block on another thread. The draft goes there and comes back, so that it is deleted
/// if the caller stops waiting.
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
