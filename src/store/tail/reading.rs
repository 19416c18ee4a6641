//! Reports how reading the log goes: by a gauge at each read, and by a log line when that changes.

use tokio::time::Instant;
use tracing::{info, warn};

use crate::observe::metrics::{Metrics, TailReader};
use crate::store::StoreError;

/// The state of one reader of the log.
#[derive(Debug)]
pub(super) struct Reading {
    reader: TailReader,
    metrics: Metrics,
    /// When this reader last was at the end of the log, or was idle.
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

    /// Notes that there are no waiters or subscribers.
    pub(super) fn rests(&mut self) {
        self.failures = 0;
        self.is_at_end();
    }

    /// Notes the end of a read. `read` says whether that was all there is. Returns the number of
    /// consecutive failures.
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
