//! Lets readers follow a fetch: they get the bytes while they arrive.
//!
//! Readers of a folder read the draft, as far as it has been written. So none of them slows the
//! fetch, and one that comes late starts at the beginning. Readers of a bucket wait until the file
//! is kept. In both cases they see the end only once the file was judged whole and is durable.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream};
use futures_util::{StreamExt as _, TryStreamExt as _, future};
use tokio::sync::watch;

use super::Fetched;
use super::failure::{Failure, Next};
use crate::archive::content::Content;
use crate::archive::storage::{Growing, Storage, StorageError};

/// Reports to readers how far the fetch has come. If this is dropped before the end of the fetch,
/// readers get `Lost::Stopped`.
pub struct Progress(Arc<watch::Sender<State>>);

/// A fetch that can be followed. All copies follow the same one.
///
/// It keeps the file open, so drop it once no more readers may come: after the row says where the
/// file is.
#[derive(Clone)]
pub struct Following(Arc<watch::Sender<State>>);

/// The type and length of a file, which are known before it has arrived.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    pub content_type: &'static str,
    /// `None` if the server does not say.
    pub bytes_total: Option<u64>,
}

/// Why a reader does not get the file. The bytes that it has read must not be used.
#[derive(Debug, thiserror::Error)]
pub enum Lost {
    /// The text of the `Failure`.
    #[error("{why}")]
    Failed { next: Next, why: Arc<str> },
    #[error("the fetch was stopped")]
    Stopped,
    #[error("{0}")]
    Storage(#[from] StorageError),
}

#[derive(Clone)]
enum State {
    /// The head is not known yet.
    Started,
    Arriving {
        head: Head,
        /// The number of bytes of `file` that may be read.
        bytes: u64,
        /// `None` in a bucket.
        file: Option<Growing>,
    },
    Kept {
        fetched: Fetched,
        source: Source,
    },
    Failed {
        next: Next,
        why: Arc<str>,
    },
    Stopped,
}

/// While there are readers, the fetch writes out each chunk, so that they get it at once.
struct Reader(watch::Receiver<State>);

type Piece = BoxStream<'static, Result<Bytes, Lost>>;

#[derive(Clone)]
enum Source {
    Open(Growing),
    Stored(Storage),
}

impl Progress {
    pub fn new() -> (Self, Following) {
        let state = Arc::new(watch::Sender::new(State::Started));
        (Self(Arc::clone(&state)), Following(state))
    }

    pub(super) fn has_readers(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Lets readers see the head and the first `bytes` of the draft.
    pub(super) fn show(
        &self,
        content: &Content,
        bytes_total: Option<u64>,
        bytes: u64,
        file: Option<&Growing>,
    ) {
        self.0.send_if_modified(|state| {
            match state {
                State::Arriving { bytes: shown, .. } if *shown == bytes => return false,
                State::Arriving { bytes: shown, .. } => *shown = bytes,
                _ => {
                    *state = State::Arriving {
                        head: Head {
                            content_type: content.format.content_type(),
                            bytes_total,
                        },
                        bytes,
                        file: file.cloned(),
                    }
                }
            }
            true
        });
    }

    /// Publishes the result to readers. `file` is the former draft, `None` in a bucket.
    pub(super) fn end(
        self,
        result: &Result<Fetched, Failure>,
        storage: &Storage,
        file: Option<Growing>,
    ) {
        let end = match result {
            Ok(fetched) => State::Kept {
                fetched: *fetched,
                source: match file {
                    Some(file) => Source::Open(file),
                    None => Source::Stored(storage.clone()),
                },
            },
            Err(failure) => State::Failed {
                next: failure.next,
                why: failure.to_string().into(),
            },
        };
        self.0.send_replace(end);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.send_if_modified(|state| {
            let is_open = matches!(state, State::Started | State::Arriving { .. });
            if is_open {
                *state = State::Stopped;
            }
            is_open
        });
    }
}

impl Following {
    /// Waits until the head is known.
    pub async fn head(&self) -> Result<Head, Lost> {
        let is_known = |state: &State| !matches!(state, State::Started);
        match self.reader().until(is_known).await? {
            State::Arriving { head, .. } => Ok(head),
            State::Kept { fetched, .. } => Ok(Head {
                content_type: fetched.content_type,
                bytes_total: Some(fetched.bytes),
            }),
            State::Started | State::Stopped => Err(Lost::Stopped),
            State::Failed { next, why } => Err(Lost::Failed { next, why }),
        }
    }

    /// Waits until the whole file is kept.
    pub async fn kept(&self) -> Result<Fetched, Lost> {
        let is_over = |state: &State| !matches!(state, State::Started | State::Arriving { .. });
        match self.reader().until(is_over).await? {
            State::Kept { fetched, .. } => Ok(fetched),
            State::Started | State::Arriving { .. } | State::Stopped => Err(Lost::Stopped),
            State::Failed { next, why } => Err(Lost::Failed { next, why }),
        }
    }

    /// Returns the bytes from the beginning, while they arrive. The stream ends once the file is
    /// kept; if that fails, its last item is an error. Until then it withholds the last bytes of a
    /// file whose length is known, because a client takes a file for whole when it has its length.
    pub fn chunks(&self) -> BoxStream<'static, Result<Bytes, Lost>> {
        let start = Some((self.reader(), 0));
        let pieces = stream::try_unfold(start, |reading| async move {
            let Some((mut reader, start)) = reading else {
                return Ok::<_, Lost>(None);
            };
            let (piece, next) = reader.after(start).await?;
            let next = next.map(|start| (reader, start));
            Ok(Some((piece, next)))
        });
        // Nothing comes after an error.
        let chunks = pieces.try_flatten().scan(false, |is_over, chunk| {
            let item = (!*is_over).then_some(chunk);
            *is_over |= matches!(item, Some(Err(_)));
            future::ready(item)
        });
        chunks.boxed()
    }

    fn reader(&self) -> Reader {
        Reader(self.0.subscribe())
    }
}

impl Reader {
    /// Waits for bytes after `start`. Returns them, and where the next ones start if there are any.
    async fn after(&mut self, start: u64) -> Result<(Piece, Option<u64>), Lost> {
        let has_more = |state: &State| match state {
            State::Started => false,
            State::Arriving { bytes, file, .. } => file.is_some() && *bytes > start,
            State::Kept { .. } | State::Failed { .. } | State::Stopped => true,
        };
        match self.until(has_more).await? {
            State::Arriving {
                bytes,
                file: Some(file),
                ..
            } => Ok((open(&file, start..bytes), Some(bytes))),
            State::Kept {
                fetched,
                source: Source::Open(file),
            } => Ok((open(&file, start..fetched.bytes), None)),
            State::Kept {
                fetched,
                source: Source::Stored(storage),
            } => {
                let reading = storage.read(fetched.sha256, None).await?;
                Ok((reading.chunks.map(|chunk| Ok(chunk?)).boxed(), None))
            }
            State::Failed { next, why } => Err(Lost::Failed { next, why }),
            State::Started | State::Arriving { file: None, .. } | State::Stopped => {
                Err(Lost::Stopped)
            }
        }
    }

    async fn until(&mut self, is_it: impl FnMut(&State) -> bool) -> Result<State, Lost> {
        let found = self.0.wait_for(is_it).await.map_err(|_| Lost::Stopped)?;
        Ok(found.clone())
    }
}

fn open(file: &Growing, range: Range<u64>) -> Piece {
    file.chunks(range).map(|chunk| Ok(chunk?)).boxed()
}
