//! Receives the bytes of one file: judges them, counts them, and passes them to the storage.

use std::time::Duration;

use bytes::Bytes;
use reqwest::Response;
use tokio::time::{Instant, timeout};

use super::Fetched;
use super::bounds::{Bounds, Rate};
use super::failure::{Failure, Reason};
use super::following::Progress;
use crate::archive::content::{Content, Expected, Inspector, Media};
use crate::archive::storage::Writer;
use crate::egress::NoAnswer;

pub(super) struct Transfer<'a> {
    bounds: Bounds,
    inspector: Inspector,
    writer: Writer,
    progress: &'a Progress,
    started_at: Instant,
    bytes: u64,
    bytes_total: Option<u64>,
    pace: Pace,
}

/// Why a body was not received.
pub(super) enum Stop {
    /// The connection broke. The rest may be asked for.
    Broken(Failure),
    Failed(Failure),
}

/// How fast the server sends. Time that our own storage takes does not count.
struct Pace {
    rate: Rate,
    waited: Duration,
    bytes: u64,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl<'a> Transfer<'a> {
    pub fn new(
        bounds: &Bounds,
        expected: Expected,
        writer: Writer,
        progress: &'a Progress,
    ) -> Self {
        Self {
            bounds: *bounds,
            inspector: Inspector::new(expected, bounds.pixels_max),
            writer,
            progress,
            started_at: Instant::now(),
            bytes: 0,
            bytes_total: None,
            pace: Pace::new(bounds.rate),
        }
    }

    /// The bytes that have arrived.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Records and judges the length that the server declares. Fails if it is too large, or if
    /// there is too little space.
    pub async fn declare(&mut self, bytes_total: Option<u64>) -> Result<(), Failure> {
        self.bytes_total = bytes_total;
        self.judge_size()?;
        if let Some(bytes_total) = bytes_total {
            self.writer.require_space(bytes_total).await?;
        }
        Ok(())
    }

    /// Receives a body to its end.
    pub async fn receive(&mut self, response: &mut Response) -> Result<(), Stop> {
        self.pace = Pace::new(self.bounds.rate);
        loop {
            let left = self.time_left()?;
            let asked_at = Instant::now();
            let chunk = timeout(left.min(self.pace.left()), response.chunk()).await;
            let arrived = match &chunk {
                Ok(Ok(Some(chunk))) => chunk.len() as u64,
                _ => 0,
            };
            self.pace.count(asked_at.elapsed(), arrived)?;
            match chunk {
                Ok(Ok(Some(chunk))) => self.take(chunk).await?,
                Ok(Ok(None)) => return self.judge_end(),
                Ok(Err(error)) => return Err(self.broken(NoAnswer::from(error).to_string())),
                // The next iteration finds out which of the two limits was reached.
                Err(_) => {}
            }
        }
    }

    async fn take(&mut self, chunk: Bytes) -> Result<(), Failure> {
        self.bytes += chunk.len() as u64;
        // Only an answer with the rest can have more: HTTP ends a whole one.
        if self.bytes_total.is_some_and(|total| self.bytes > total) {
            return Err(Failure::retry(Reason::NotTheRest));
        }
        self.inspector.feed(&chunk)?;
        self.judge_size()?;
        let Some(content) = self.inspector.content() else {
            self.writer.write(chunk).await?;
            return Ok(());
        };
        self.writer.set_content_type(content.format.content_type());
        self.writer.write(chunk).await?;
        // The last bytes are shown when the file is kept.
        if self.bytes_total != Some(self.bytes) {
            self.show(&content).await?;
        }
        Ok(())
    }

    /// Lets readers see what has arrived. Incomplete blocks are written only if there are readers.
    async fn show(&mut self, content: &Content) -> Result<(), Failure> {
        if self.progress.has_readers() {
            self.writer.flush().await?;
        }
        let (bytes, file) = (self.writer.bytes_readable(), self.writer.growing());
        self.progress
            .show(content, self.bytes_total, bytes, file.as_ref());
        Ok(())
    }

    fn media(&self) -> Option<Media> {
        self.inspector
            .content()
            .map(|content| content.format.media())
    }

    /// Judges the bytes that arrived and those that were declared.
    fn judge_size(&self) -> Result<(), Failure> {
        let media = self.media();
        let bytes_max = match media {
            Some(media) => self.bounds.of(media).bytes_max,
            None => self.bounds.bytes_max(),
        };
        if self.bytes.max(self.bytes_total.unwrap_or(0)) > bytes_max {
            return Err(Failure::give_up(Reason::TooLarge { media, bytes_max }));
        }
        Ok(())
    }

    /// Returns the time that the transfer may still take. Until the first bytes show the kind of
    /// the file, the limit of images applies.
    fn time_left(&self) -> Result<Duration, Failure> {
        let media = self.media().unwrap_or(Media::Image);
        let time_max = self.bounds.of(media).time_max;
        let left = time_max.saturating_sub(self.started_at.elapsed());
        if left.is_zero() {
            return Err(Failure::retry(Reason::TookTooLong));
        }
        Ok(left)
    }

    fn judge_end(&self) -> Result<(), Stop> {
        match self.bytes_total {
            Some(total) if self.bytes < total => {
                Err(self.broken("the server sent no more".to_owned()))
            }
            _ => Ok(()),
        }
    }

    fn broken(&self, why: String) -> Stop {
        Stop::Broken(Failure::retry(Reason::Broken {
            got: self.bytes,
            total: self.bytes_total,
            why,
        }))
    }

    /// Judges the whole file, and keeps it.
    pub async fn finish(mut self) -> Result<Fetched, Failure> {
        let bytes_max = |content: &Content| self.bounds.of(content.format.media()).bytes_max;
        let content = match self.inspector.finish() {
            Ok(content) if self.bytes <= bytes_max(&content) => content,
            Ok(content) => {
                self.writer.abort().await;
                return Err(Failure::give_up(Reason::TooLarge {
                    media: Some(content.format.media()),
                    bytes_max: bytes_max(&content),
                }));
            }
            Err(refused) => {
                self.writer.abort().await;
                return Err(refused.into());
            }
        };
        let content_type = content.format.content_type();
        self.writer.set_content_type(content_type);
        let stored = self.writer.finish().await?;
        Ok(Fetched {
            sha256: stored.sha256,
            bytes: stored.bytes,
            content_type,
            width: content.dimensions.map(|size| size.width),
            height: content.dimensions.map(|size| size.height),
        })
    }

    pub async fn abort(self) {
        self.writer.abort().await;
    }
}

impl Pace {
    fn new(rate: Rate) -> Self {
        Self {
            rate,
            waited: Duration::ZERO,
            bytes: 0,
        }
    }

    /// The rest of the window.
    fn left(&self) -> Duration {
        self.rate.window.saturating_sub(self.waited)
    }

    fn count(&mut self, waited: Duration, bytes: u64) -> Result<(), Failure> {
        self.waited += waited;
        self.bytes += bytes;
        if self.waited < self.rate.window {
            return Ok(());
        }
        if self.bytes < self.rate.bytes_min {
            return Err(Failure::retry(Reason::TooSlow));
        }
        *self = Self::new(self.rate);
        Ok(())
    }
}
