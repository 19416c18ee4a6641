//! The storage in a folder of this machine.

use std::fs::{self, File};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream::{self, BoxStream};
use tokio::task::spawn_blocking;

use super::draft::{DRAFT_SUFFIX, Draft};
use super::root::{Root, modified_at, remove};
use super::{Entry, Reading, StorageError, inside};
use crate::archive::Digest;
use crate::domain::timestamp::Timestamp;

/// The size of one read. Each read runs on another thread, which costs some microseconds.
const CHUNK_BYTES: usize = 256 * 1024;

#[derive(Clone, Debug)]
pub struct Folder {
    root: Arc<Root>,
}

impl Folder {
    pub(super) async fn open(path: PathBuf, min_free: u64) -> Result<Self, StorageError> {
        let root = blocking(move || Root::create(path, min_free)).await?;
        let root = Arc::new(root);
        Ok(Self { root })
    }

    pub(super) async fn look(path: PathBuf) -> Result<(), StorageError> {
        blocking(move || Root::look(&path)).await
    }

    pub(super) async fn draft(&self) -> Result<Draft, StorageError> {
        let root = Arc::clone(&self.root);
        blocking(move || Draft::create(root)).await
    }

    pub(super) async fn read(
        &self,
        digest: Digest,
        range: Option<Range<u64>>,
    ) -> Result<Reading, StorageError> {
        let root = Arc::clone(&self.root);
        let (file, bytes_total) = blocking(move || {
            let file = File::open(root.file(digest)).map_err(|error| root.opening(error))?;
            let found = file.metadata().map_err(StorageError::io("read from"))?;
            Ok((file, found.len()))
        })
        .await?;
        let range = inside(range, bytes_total)?;
        Ok(Reading {
            bytes_total,
            chunks: chunks(Arc::new(file), range.clone()),
            range,
        })
    }

    pub(super) async fn bytes_of(&self, digest: Digest) -> Result<u64, StorageError> {
        let root = Arc::clone(&self.root);
        blocking(move || {
            let found = fs::metadata(root.file(digest)).map_err(|error| root.opening(error))?;
            Ok(found.len())
        })
        .await
    }

    pub(super) async fn delete(&self, digest: Digest) -> Result<(), StorageError> {
        let root = Arc::clone(&self.root);
        blocking(move || {
            if remove(&root.file(digest))? {
                return Ok(());
            }
            root.require()
        })
        .await
    }

    pub(super) async fn delete_older(
        &self,
        digest: Digest,
        before: Timestamp,
    ) -> Result<bool, StorageError> {
        let root = Arc::clone(&self.root);
        blocking(move || root.delete_older(digest, before)).await
    }

    pub(super) async fn identity(&self) -> Result<Option<String>, StorageError> {
        let root = Arc::clone(&self.root);
        blocking(move || root.identity()).await
    }

    pub(super) async fn set_identity(&self, identity: &str) -> Result<bool, StorageError> {
        let root = Arc::clone(&self.root);
        let identity = identity.to_owned();
        blocking(move || {
            let mut draft = Draft::create(root)?;
            draft.append(identity.as_bytes())?;
            draft.place_as_marker()
        })
        .await
    }

    pub(super) async fn now(&self) -> Result<Timestamp, StorageError> {
        let root = Arc::clone(&self.root);
        blocking(move || Draft::create(root)?.modified_at()).await
    }

    pub(super) fn list(&self) -> BoxStream<'static, Result<Entry, StorageError>> {
        let root = Arc::clone(&self.root);
        stream::iter(0..=u8::MAX)
            .then(move |first| {
                let root = Arc::clone(&root);
                async move {
                    let found = blocking(move || entries(&root, first)).await;
                    let found: Vec<Result<Entry, StorageError>> = match found {
                        Ok(entries) => entries.into_iter().map(Ok).collect(),
                        Err(error) => vec![Err(error)],
                    };
                    stream::iter(found)
                }
            })
            .flatten()
            .boxed()
    }

    pub(super) async fn sweep(&self, before: Timestamp) -> Result<usize, StorageError> {
        let drafts = self.root.drafts();
        blocking(move || {
            let mut swept = 0;
            for found in fs::read_dir(drafts).map_err(StorageError::io("list"))? {
                let found = found.map_err(StorageError::io("list"))?;
                let name = found.file_name();
                let is_draft = name.as_encoded_bytes().ends_with(DRAFT_SUFFIX.as_bytes());
                // A draft may be finished or deleted by its writer meanwhile.
                let is_old = found
                    .metadata()
                    .is_ok_and(|found| found.is_file() && modified_at(&found) < before);
                if is_draft && is_old && remove(&found.path())? {
                    swept += 1;
                }
            }
            Ok(swept)
        })
        .await
    }

    pub(super) async fn bytes_free(&self) -> Result<u64, StorageError> {
        let root = Arc::clone(&self.root);
        blocking(move || root.bytes_free()).await
    }
}

/// Lists the files whose digests start with `first`.
fn entries(root: &Root, first: u8) -> Result<Vec<Entry>, StorageError> {
    let listed = match fs::read_dir(root.folder(first)) {
        Ok(listed) => listed,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            root.require()?;
            return Ok(Vec::new());
        }
        Err(error) => return Err(StorageError::io("list")(error)),
    };
    let mut entries = Vec::new();
    for found in listed {
        let found = found.map_err(StorageError::io("list"))?;
        let name = found.file_name();
        let digest = format!("{first:02x}{}", name.to_string_lossy()).parse();
        let metadata = found.metadata();
        // Left out: files that are not ours, and files that were deleted meanwhile.
        if let (Ok(digest), Ok(metadata)) = (digest, metadata)
            && metadata.is_file()
        {
            entries.push(Entry {
                digest,
                bytes: metadata.len(),
                modified_at: modified_at(&metadata),
            });
        }
    }
    Ok(entries)
}

pub(super) fn chunks(
    file: Arc<File>,
    range: Range<u64>,
) -> BoxStream<'static, Result<Bytes, StorageError>> {
    stream::try_unfold((file, range), |(file, range)| async move {
        if range.is_empty() {
            return Ok(None);
        }
        let left = usize::try_from(range.end - range.start).unwrap_or(usize::MAX);
        let mut chunk = vec![0; left.min(CHUNK_BYTES)];
        let reading = Arc::clone(&file);
        let start = range.start;
        let chunk = blocking(move || {
            reading
                .read_exact_at(&mut chunk, start)
                .map_err(StorageError::io("read from"))?;
            Ok(Bytes::from(chunk))
        })
        .await?;
        let next = range.start + chunk.len() as u64..range.end;
        Ok(Some((chunk, (file, next))))
    })
    .boxed()
}

/// Runs file operations on a thread that may block. They are not cut short if the caller stops
/// waiting.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StorageError> + Send + 'static,
) -> Result<T, StorageError> {
    match spawn_blocking(work).await {
        Ok(result) => result,
        Err(error) => Err(StorageError::io("use")(io::Error::other(error))),
    }
}
