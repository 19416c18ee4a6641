//! How the reading of the log goes: told by a gauge at each read, and in words when it changes.

use tokio::time::Instant;
use tracing::{info, warn};

use crate::metrics::{Metrics, TailReader};
use crate::store::StoreError;

/// One who reads the log for others.
#[derive(Debug)]
pub(super) struct Reading {
    reader: TailReader,
    metrics: Metrics,
    /// When it last knew of all there is, or nobody wanted to know.
    was_at_end: Instant,
    failures: u32,
}

impl Reading {
    pub(super) fn new(reader: TailReader, metrics: Metrics) -> Self {
        Self {
            reader,
            metrics,
            was_at_end: Instant::now(),
            failures: 0,
        }
    }

    /// Nobody wants to know.
    pub(super) fn rests(&mut self) {
        self.failures = 0;
        self.is_at_end();
    }

    /// A read has ended; with whether that was all there is. Gives how many have failed, one after the other.
    pub(super) fn ended(&mut self, read: Result<bool, &StoreError>) -> u32 {
        let reader = self.reader.as_str();
        match read {
            Err(error) => {
                if self.failures == 0 {
                    warn!(reader, error = %error, "the log of events cannot be read for {reader}: {error}");
                }
                self.failures += 1;
            }
            Ok(_) if self.failures > 0 => {
                info!(reader, "the log of events can be read again for {reader}");
                self.failures = 0;
            }
            Ok(_) => {}
        }
        if matches!(read, Ok(true)) {
            self.is_at_end();
        } else {
            self.metrics
                .tail_behind(self.reader, self.was_at_end.elapsed());
        }
        self.failures
    }

    fn is_at_end(&mut self) {
        self.was_at_end = Instant::now();
        self.metrics
            .tail_behind(self.reader, std::time::Duration::ZERO);
    }
}
