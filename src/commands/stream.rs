//! Follows the service's events as they happen. A stream that breaks off is continued where it
//! ended.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::ExponentialBackoff;
use bytes::Bytes;
use futures_util::stream::{BoxStream, try_unfold};
use futures_util::{Stream, StreamExt as _, stream};
use http::{HeaderName, header};
use reqwest::Response;
use serde_json::Value;
use sse_stream::{Sse, SseByteStream};
use tokio::time::{sleep, timeout};
use tracing::warn;

use super::api::{Api, Opened};
use crate::exit::{CommandError, Exit};
use crate::pauses::growing;

/// Three times the 15 s within which the service always sends something. After that, the connection
/// is lost.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Longer than any connection lives: a stream is limited by `SILENCE_MAX` instead.
const STREAM_TIMEOUT: Duration = Duration::from_hours(24 * 365);

/// Far more than a task with the largest accepted body needs.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Delays between attempts to connect. A follower survives a restart of the service, and gives up
/// after about half a minute.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const TRIES_MAX: usize = 12;

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// An item of the followed stream.
#[derive(Debug)]
pub enum News {
    /// The stream begins now. Earlier events are not part of it.
    Opened,
    /// The stream continues from a position other than the last event, because the service's store
    /// was restored or replaced. Events may repeat, or have other ids.
    Resumed,
    Event(Value),
}

struct Following {
    api: Api,
    query: Vec<(&'static str, String)>,
    /// The id of the last event received. Before the first event, the position at which the stream
    /// began.
    last_id: Option<String>,
    /// Whether the service has named another position to continue from.
    is_resumed: bool,
    open: Option<Open>,
    pauses: ExponentialBackoff,
}

/// A connected stream.
struct Open {
    blocks: BoxStream<'static, Result<Sse, sse_stream::Error>>,
    /// The bytes received since the last complete event.
    unread: Arc<AtomicUsize>,
}

/// Returns the events that match `query`, without end. The stream ends after the first error.
pub fn follow(
    api: Api,
    query: Vec<(&'static str, String)>,
) -> impl Stream<Item = Result<News, CommandError>> {
    let following = Following {
        api,
        query,
        last_id: None,
        is_resumed: false,
        open: None,
        pauses: pauses(),
    };
    stream::unfold(Some(following), async |following| {
        let mut following = following?;
        match following.next().await {
            Ok(news) => Some((Ok(news), Some(following))),
            Err(error) => Some((Err(error), None)),
        }
    })
}

impl Following {
    async fn next(&mut self) -> Result<News, CommandError> {
        loop {
            let Some(open) = &mut self.open else {
                let last_id = self.last_id.clone();
                self.connect().await?;
                match last_id {
                    None => return Ok(News::Opened),
                    Some(_) if std::mem::take(&mut self.is_resumed) => return Ok(News::Resumed),
                    Some(_) => continue,
                }
            };
            let block = open.blocks.next().await;
            open.unread.store(0, Ordering::Relaxed);
            match block {
                Some(Ok(block)) => {
                    self.pauses = pauses();
                    if block.id.is_some() {
                        self.last_id = block.id;
                    }
                    if let Some(data) = block.data {
                        return self.event(&data).map(News::Event);
                    }
                }
                // The service closed the stream, or the connection failed. Connect again.
                Some(Err(_)) | None => {
                    self.open = None;
                    sleep(PAUSE_MIN).await;
                }
            }
        }
    }

    fn event(&self, data: &str) -> Result<Value, CommandError> {
        serde_json::from_str(data).map_err(|_| {
            let base = self.api.base_url();
            let message = format!("{base} sent an event that is not JSON");
            CommandError::new(Exit::Unavailable, message)
        })
    }

    /// Retries until the service responds, or until it has been gone for too long.
    async fn connect(&mut self) -> Result<(), CommandError> {
        loop {
            match self.try_connect().await {
                Ok(Some(open)) => {
                    self.open = Some(open);
                    return Ok(());
                }
                Ok(None) => match self.pauses.next() {
                    Some(pause) => sleep(pause).await,
                    None => return Err(self.never_resumes()),
                },
                Err(error) => {
                    let is_passing = matches!(error.exit, Exit::Unavailable | Exit::TempFail);
                    let Some(pause) = self.pauses.next().filter(|_| is_passing) else {
                        return Err(error);
                    };
                    sleep(pause).await;
                }
            }
        }
    }

    fn never_resumes(&self) -> CommandError {
        let message = format!(
            "{} does not go on from where it says that it does",
            self.api.base_url()
        );
        CommandError::new(Exit::Unavailable, message)
    }

    /// Returns `None` if the service has named another position to continue from.
    async fn try_connect(&mut self) -> Result<Option<Open>, CommandError> {
        let mut request = self
            .api
            .get_events(&self.query)?
            .header(header::ACCEPT, "text/event-stream")
            .timeout(STREAM_TIMEOUT);
        if let Some(id) = &self.last_id {
            request = request.header(LAST_EVENT_ID.clone(), id);
        }
        let opening = timeout(SILENCE_MAX, self.api.open(request)).await;
        let response = opening.unwrap_or_else(|_| {
            let message = format!("{} does not answer", self.api.base_url());
            Err(CommandError::new(Exit::Unavailable, message))
        })?;
        let response = match response {
            Opened::Stream(response) => response,
            Opened::Elsewhere(_) => {
                let message = format!("{} redirects a stream", self.api.base_url());
                return Err(CommandError::new(Exit::Unavailable, message));
            }
            Opened::Expired {
                resume_after,
                message,
            } => {
                warn!("{message}");
                self.last_id = Some(resume_after);
                self.is_resumed = true;
                return Ok(None);
            }
        };
        let begins = response.headers().get(&LAST_EVENT_ID);
        let begins = begins.and_then(|begins| begins.to_str().ok());
        self.last_id = self.last_id.take().or(begins.map(str::to_owned));
        let unread = Arc::new(AtomicUsize::new(0));
        let blocks = SseByteStream::new(Box::pin(chunks(response, Arc::clone(&unread))));
        Ok(Some(Open {
            blocks: blocks.boxed(),
            unread,
        }))
    }
}

fn pauses() -> ExponentialBackoff {
    growing(PAUSE_MIN, PAUSE_MAX, TRIES_MAX)
}

/// Yields the response's chunks. Fails after `SILENCE_MAX` without one, or if an event is too
/// large.
fn chunks(
    response: Response,
    unread: Arc<AtomicUsize>,
) -> impl Stream<Item = Result<Bytes, io::Error>> {
    try_unfold((response, unread), async |(mut response, unread)| {
        let chunk = timeout(SILENCE_MAX, response.chunk()).await;
        let Some(chunk) = chunk?.map_err(io::Error::other)? else {
            return Ok(None);
        };
        let before = unread.fetch_add(chunk.len(), Ordering::Relaxed);
        if before + chunk.len() > EVENT_BYTES_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        Ok(Some((chunk, (response, unread))))
    })
}
