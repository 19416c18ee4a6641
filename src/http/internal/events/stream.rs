//! The event log as a stream that stays open (Server-Sent Events). The only state kept per reader
//! is its position: the next events are fetched once it has taken the previous ones. A reader that
//! is too far behind the newest events reads pages of the log until it has caught up.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderName};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::frames;
use crate::domain::event::id::Epochs;
use crate::http::internal::InternalState;
use crate::http::internal::access::wait_permits::WaitPermit;
use crate::store::read::events::{EventFilter, PageSize};
use crate::store::tail::{Batch, Follower, Next};
use crate::store::{Store, StoreError};
use crate::task_object::TaskObjects;
use crate::turns::{self, Turns};

/// Interval without events after which a reader is sent a comment. It shows the reader, and any
/// proxy in between, that the stream is alive.
const HEARTBEAT: Duration = Duration::from_secs(15);

/// Asks proxies that buffer responses not to do so.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");

/// Response header with the position at which the stream begins. A client that is cut off before
/// its first event resumes there and misses none.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Page size for catching up. A client that stops reading keeps one page in memory until its
/// connection is closed.
const PAGE: PageSize = PageSize {
    events: 100,
    bytes: 128 * 1024,
};

/// The permit to read a page. One reader at a time catches up, so that callbacks are not delayed.
#[derive(Clone, Debug)]
pub struct CatchUpPermit(Turns);

impl Default for CatchUpPermit {
    fn default() -> Self {
        Self(Turns::new(1))
    }
}

struct Reader {
    store: Arc<Store>,
    objects: TaskObjects,
    turns: CatchUpPermit,
    /// The API key that reads.
    key: Arc<str>,
    stopping: CancellationToken,
    filter: EventFilter,
    follower: Follower,
    /// The epochs that its position was resolved with. The stream ends once the log has a newer
    /// epoch.
    epochs: Epochs,
    /// `seq` of the last event that was sent or filtered out.
    place: i64,
    is_greeted: bool,
    _permit: WaitPermit,
}

/// Streams the events after `after` until either side closes.
pub fn open(
    state: &InternalState,
    permit: WaitPermit,
    filter: EventFilter,
    epochs: Epochs,
    after: i64,
) -> Response {
    let begins = epochs.id(after);
    let reader = Reader {
        store: Arc::clone(&state.store),
        objects: state.task_objects.clone(),
        turns: state.catch_up_permit.clone(),
        key: turns::current_key(),
        stopping: state.stopping.clone(),
        filter,
        follower: state.store.tail().follow(epochs.current()),
        epochs,
        place: after,
        is_greeted: false,
        _permit: permit,
    };
    let chunks = stream::unfold(reader, async |mut reader| {
        let key = Arc::clone(&reader.key);
        let chunk = turns::working_for(key, reader.next()).await?;
        Some((chunk, reader))
    });
    let headers = [
        (CONTENT_TYPE, "text/event-stream".into()),
        (CACHE_CONTROL, "no-store".into()),
        (ACCEL_BUFFERING, "no".into()),
        (LAST_EVENT_ID, begins.to_string()),
    ];
    (headers, Body::from_stream(chunks)).into_response()
}

impl Reader {
    /// The next chunk to send; `None` when the stream ends. If the store fails, the stream breaks
    /// off, and the client reconnects from its position.
    async fn next(&mut self) -> Option<Result<Bytes, StoreError>> {
        if !std::mem::replace(&mut self.is_greeted, true) {
            return Some(Ok(self.named_place()));
        }
        // The timeout covers the whole call: skipping many events that do not match the filter, or
        // waiting for the permit to read a page, must not suppress the heartbeat.
        let chunk = timeout(HEARTBEAT, self.next_chunk()).await;
        chunk.unwrap_or_else(|_| Some(Ok(self.named_place())))
    }

    fn named_place(&self) -> Bytes {
        frames::of_place(self.epochs.id(self.place))
    }

    async fn next_chunk(&mut self) -> Option<Result<Bytes, StoreError>> {
        loop {
            if self.stopping.is_cancelled() {
                return None;
            }
            let chunk = match self.follower.next_after(self.place) {
                Next::Batch(batch) => Ok(self.of_batch(&batch)),
                Next::InLog => self.of_page().await,
                Next::Broken => Err(StoreError::Unreachable("its end is not known".to_owned())),
                Next::Nothing => {
                    tokio::select! {
                        () = self.follower.news() => {}
                        () = self.stopping.cancelled() => {}
                    }
                    continue;
                }
            };
            match chunk {
                Ok(chunk) if chunk.is_empty() => {}
                Ok(chunk) => return Some(Ok(chunk)),
                Err(error) => {
                    debug!(error = %error, "a stream of events ends early: {error}");
                    return Some(Err(error));
                }
            }
        }
    }

    /// The frames of `batch` that follow the reader's position and match its filter. All readers
    /// without a filter share the same bytes.
    fn of_batch(&mut self, batch: &Batch) -> Bytes {
        let told = batch.frames(|events| frames::of_events(&self.objects, events));
        let first = batch
            .events
            .partition_point(|event| event.id.seq <= self.place);
        let begin = if first == 0 { 0 } else { told.ends[first - 1] };
        self.place = batch.upto;
        if self.filter.is_for_all() {
            return told.bytes.slice(begin..);
        }
        let mut chunk = Vec::new();
        let mut begin = begin;
        for (event, end) in batch.events.iter().zip(&told.ends).skip(first) {
            if self.filter.matches(event) {
                chunk.extend_from_slice(&told.bytes[begin..*end]);
            }
            begin = *end;
        }
        chunk.into()
    }

    async fn of_page(&mut self) -> Result<Bytes, StoreError> {
        let _turn = self.turns.0.take(&self.key).await;
        let page = self
            .store
            .list_events(&self.filter, &self.epochs, self.place, PAGE);
        let page = page.await?;
        self.place = page.next;
        Ok(frames::of_events(&self.objects, &page.events).bytes)
    }
}
