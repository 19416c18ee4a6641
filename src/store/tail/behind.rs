//! Reports how far a reader of the log is behind its end: by a gauge at each read.

use std::time::Duration;

use tokio::time::Instant;

use crate::observe::metrics::{Metrics, TailReader};
use crate::store::StoreError;

/// How far one reader is behind.
#[derive(Debug)]
pub(super) struct Behind {
    reader: TailReader,
    metrics: Metrics,
    /// When this reader last was at the end of the log, or had nobody to read for.
    was_at_end: Instant,
}

impl Behind {
    pub(super) fn new(reader: TailReader, metrics: Metrics) -> Self {
        Self {
            reader,
            metrics,
            was_at_end: Instant::now(),
        }
    }

    /// Notes the end of a read. `read` says whether that was all there is.
    pub(super) fn has_read(&mut self, read: Result<bool, &StoreError>) {
        if matches!(read, Ok(true)) {
            self.is_at_end();
        } else {
            let behind = self.was_at_end.elapsed();
            self.metrics.tail_behind(self.reader, behind);
        }
    }

    /// Notes that there is nothing more to read, or nobody to read for.
    pub(super) fn is_at_end(&mut self) {
        self.was_at_end = Instant::now();
        self.metrics.tail_behind(self.reader, Duration::ZERO);
    }
}
