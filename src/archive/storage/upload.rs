//! Uploads one file to a bucket.
//!
//! A server shows an object only when it is whole. So a small file is put under its digest at once.
//! The digest of a large file is known only at its end: it is uploaded in parts to a draft, which
//! the server then copies.

use object_store::path::Path;
use object_store::{Attribute, Attributes, MultipartUpload, ObjectStore as _, ObjectStoreExt as _};
use tracing::warn;

use super::bucket::Bucket;
use super::{StorageError, Stored};
use crate::archive::Hasher;

/// The smallest part that S3 accepts. Each upload holds one part in memory.
const PART_BYTES: usize = 5 * 1024 * 1024;

/// An object that is being uploaded.
pub(super) struct Upload {
    bucket: Bucket,
    hasher: Hasher,
    bytes: u64,
    content_type: Option<&'static str>,
    part: Vec<u8>,
    multipart: Option<Multipart>,
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

    pub(super) async fn write(&mut self, chunk: &[u8]) -> Result<(), StorageError> {
        self.hasher.update(chunk);
        self.bytes += chunk.len() as u64;
        self.part.extend_from_slice(chunk);
        while self.part.len() >= PART_BYTES {
            // Some servers want all parts but the last to be equally long.
            let rest = self.part.split_off(PART_BYTES);
            self.put_part().await?;
            self.part = rest;
        }
        Ok(())
    }

    async fn put_part(&mut self) -> Result<(), StorageError> {
        let failed = StorageError::bucket("write to");
        if self.multipart.is_none() {
            let name = format!("{:016x}{:016x}.draft", fastrand::u64(..), fastrand::u64(..));
            let draft = self.bucket.drafts().join(name.as_str());
            let upload = self
                .bucket
                .store
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
                .store
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
        let copied = self.bucket.store.copy(&multipart.draft, key).await;
        copied.map_err(failed)?;
        if let Err(error) = self.bucket.remove(&multipart.draft).await {
            warn!(%error, "could not delete a draft in the bucket; the next sweep does");
        }
        Ok(())
    }

    pub(super) async fn abort(self) {
        let Some(mut multipart) = self.multipart else {
            return;
        };
        let aborted = if multipart.is_complete {
            self.bucket.remove(&multipart.draft).await
        } else {
            let aborted = multipart.upload.abort().await;
            aborted.map_err(StorageError::bucket("write to"))
        };
        if let Err(error) = aborted {
            warn!(%error, "could not abort an upload; the bucket's lifecycle rule must delete it");
        }
    }
}
