//! The service's events as they happen, for commands that follow them: one stream, taken up where it broke off.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBackoff, ExponentialBuilder};
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

/// The service says something every 15 s. One that is silent for three times as long is gone without a word.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// Beyond the life of any connection: what bounds a stream is its silence.
const STREAM_TIMEOUT: Duration = Duration::from_hours(24 * 365);

/// A task with the largest body that is taken in is far below.
const EVENT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// A restart of the service is no reason to end; a service that is gone for half a minute is.
const PAUSE_MIN: Duration = Duration::from_millis(200);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const TRIES_MAX: usize = 12;

static LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// What a stream brings.
#[derive(Debug)]
pub enum News {
    /// It begins, with nothing to take up: what happened before is not told.
    Opened,
    /// It goes on from another place than the last event, for the service's store was restored or is another one. Events
    /// may come again, or come with other ids.
    Resumed,
    Event(Value),
}

struct Following {
    api: Api,
    query: Vec<(&'static str, String)>,
    /// Of the last event that came; before the first, where the stream began.
    last_id: Option<String>,
    /// Whether the service has named another place to go on from.
    is_resumed: bool,
    open: Option<Open>,
    pauses: ExponentialBackoff,
}

/// A stream that is connected.
struct Open {
    blocks: BoxStream<'static, Result<Sse, sse_stream::Error>>,
    /// Since the last whole event.
    unread: Arc<AtomicUsize>,
}

/// The events that `query` asks for, for ever. The first error is the end.
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
                // Its end, or ours with it: it is taken up again.
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

    /// Tries until the service is there, or has been gone for too long.
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

    /// `None` if the service has named another place to go on from.
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
    ExponentialBuilder::default()
        .with_min_delay(PAUSE_MIN)
        .with_max_delay(PAUSE_MAX)
        .with_max_times(TRIES_MAX)
        .with_jitter()
        .build()
}

/// What comes, as long as it comes, and in events of a size that can be.
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
