//! Uploads one file to a bucket.
//!
//! A server shows an object only when it is whole. So a small file is put under its digest at once.
//! The digest of a large file is known only at its end: it is uploaded in parts to a draft, which
//! the server then copies.

use std::time::Duration;

use object_store::path::Path;
use object_store::{
    Attribute, Attributes, Error, MultipartUpload, ObjectStore as _, ObjectStoreExt as _,
};
use tokio::runtime::Handle;
use tokio::time::timeout;
use tracing::warn;

use super::bucket::Bucket;
use super::{StorageError, Stored, draft};
use crate::archive::Hasher;

/// The smallest part that S3 accepts. Each upload holds one part in memory.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// A file with more bytes than these gets the memory of a whole part at once, because a buffer that
/// grows by doubling needs three times its bytes for a moment. Most images have fewer.
const SMALL_BYTES: usize = 1024 * 1024;

/// The limit for the abort of an upload that nobody waits for.
const ABORT_TIMEOUT: Duration = Duration::from_secs(10);

/// An object that is being uploaded.
pub(super) struct Upload {
    bucket: Bucket,
    hasher: Hasher,
    bytes: u64,
    content_type: Option<&'static str>,
    part: Vec<u8>,
    multipart: Option<Multipart>,
    /// Whether a write has failed, or was cancelled. The object must not be finished then.
    is_broken: bool,
}

struct Multipart {
    draft: Path,
    upload: Box<dyn MultipartUpload>,
    /// Whether the draft is an object, no longer an upload.
    is_complete: bool,
}

impl Upload {
    pub(super) fn new(bucket: Bucket) -> Self {
        Self {
            bucket,
            hasher: Hasher::default(),
            bytes: 0,
            content_type: None,
            part: Vec::new(),
            multipart: None,
            is_broken: false,
        }
    }

    /// The server shows this type to a browser that opens a presigned URL.
    pub(super) fn set_content_type(&mut self, content_type: &'static str) {
        self.content_type = Some(content_type);
    }

    fn attributes(&self) -> Attributes {
        let content_type = self.content_type.into_iter();
        content_type
            .map(|value| (Attribute::ContentType, value))
            .collect()
    }

    pub(super) async fn write(&mut self, mut chunk: &[u8]) -> Result<(), StorageError> {
        self.refuse_broken()?;
        self.is_broken = true;
        self.hasher.update(chunk);
        self.bytes += chunk.len() as u64;
        while !chunk.is_empty() {
            // Some servers want all parts but the last to be equally long.
            let (taken, rest) = chunk.split_at(chunk.len().min(PART_BYTES - self.part.len()));
            if self.part.len() + taken.len() > SMALL_BYTES {
                self.part.reserve_exact(PART_BYTES - self.part.len());
            }
            self.part.extend_from_slice(taken);
            chunk = rest;
            if self.part.len() == PART_BYTES {
                self.put_part().await?;
            }
        }
        self.is_broken = false;
        Ok(())
    }

    fn refuse_broken(&self) -> Result<(), StorageError> {
        if self.is_broken {
            return Err(StorageError::bucket("write to")(Error::Generic {
                store: "S3",
                source: "an earlier write failed".into(),
            }));
        }
        Ok(())
    }

    async fn put_part(&mut self) -> Result<(), StorageError> {
        let failed = StorageError::bucket("write to");
        if self.multipart.is_none() {
            let draft = self.bucket.drafts().join(draft::name());
            let upload = self
                .bucket
                .uploads
                .put_multipart_opts(&draft, self.attributes().into())
                .await;
            let upload = upload.map_err(&failed)?;
            self.multipart = Some(Multipart {
                draft,
                upload,
                is_complete: false,
            });
        }
        let part = std::mem::take(&mut self.part);
        if let Some(multipart) = &mut self.multipart {
            let sent = multipart.upload.put_part(part.into());
            sent.await.map_err(&failed)?;
        }
        Ok(())
    }

    pub(super) async fn finish(mut self) -> Result<Stored, StorageError> {
        if let Err(error) = self.refuse_broken() {
            self.abort().await;
            return Err(error);
        }
        let sha256 = std::mem::take(&mut self.hasher).finish();
        let bytes = self.bytes;
        let key = self.bucket.key(sha256);
        if self.multipart.is_some() {
            if let Err(error) = self.place_parts(&key).await {
                self.abort().await;
                return Err(error);
            }
        } else {
            let whole = std::mem::take(&mut self.part);
            let options = self.attributes().into();
            let put = self
                .bucket
                .uploads
                .put_opts(&key, whole.into(), options)
                .await;
            put.map_err(StorageError::bucket("write to"))?;
        }
        Ok(Stored { sha256, bytes })
    }

    async fn place_parts(&mut self, key: &Path) -> Result<(), StorageError> {
        let failed = StorageError::bucket("write to");
        if !self.part.is_empty() {
            self.put_part().await?;
        }
        let Some(multipart) = &mut self.multipart else {
            return Ok(());
        };
        multipart.upload.complete().await.map_err(&failed)?;
        multipart.is_complete = true;
        let copied = self.bucket.uploads.copy(&multipart.draft, key).await;
        copied.map_err(failed)?;
        if let Err(error) = self.bucket.remove(&multipart.draft).await {
            warn!(%error, "could not delete a draft in the bucket; the next sweep deletes it");
        }
        self.multipart = None;
        Ok(())
    }

    pub(super) async fn abort(mut self) {
        if let Some(multipart) = self.multipart.take() {
            multipart.abort(&self.bucket).await;
        }
    }
}

impl Multipart {
    async fn abort(mut self, bucket: &Bucket) {
        let aborted = if self.is_complete {
            bucket.remove(&self.draft).await
        } else {
            let aborted = self.upload.abort().await;
            aborted.map_err(StorageError::bucket("write to"))
        };
        if let Err(error) = aborted {
            warn!(%error, "could not abort an upload; the bucket's lifecycle rule must delete it");
        }
    }
}

impl Drop for Upload {
    /// Aborts the upload if the caller stopped waiting, for example at a shutdown. Nobody waits for
    /// the abort, so the runtime may end before it.
    fn drop(&mut self) {
        if let (Some(multipart), Ok(runtime)) = (self.multipart.take(), Handle::try_current()) {
            let bucket = self.bucket.clone();
            runtime.spawn(async move {
                let _ = timeout(ABORT_TIMEOUT, multipart.abort(&bucket)).await;
            });
        }
    }
}
