//! Reports on the quarantine. Each new entry is a log line; one callback URL can cause few of them.
//! Drops and evictions beyond the bounds are counted, and logged at most once a minute.

use std::time::{Duration, Instant};

use tracing::{error, warn};

use super::{Kept, Kind};
use crate::observe::metrics::Metrics;
use crate::observe::untrusted::Untrusted;

/// The interval between two log lines about what is beyond the bounds.
const REPORT_INTERVAL: Duration = Duration::from_mins(1);

/// The reporter of one recorder.
pub struct Reporter {
    metrics: Metrics,
    reported_at: Option<Instant>,
    dropped: u64,
    evicted: u64,
}

impl Reporter {
    pub const fn new(metrics: Metrics) -> Self {
        Self {
            metrics,
            reported_at: None,
            dropped: 0,
            evicted: 0,
        }
    }

    /// Reports a batch that is committed.
    pub fn report(&mut self, kept: &Kept) {
        for entry in &kept.new {
            let (subject, reason) = (&entry.subject, Untrusted(&entry.reason));
            let task_id = entry.task_id.as_ref().map(tracing::field::display);
            match entry.kind {
                Kind::Conflict => {
                    error!(submission.id = %subject, task.id = task_id, "a second, different outcome was reported; the first one stays, and the second is kept in quarantine");
                }
                Kind::Mismatch => {
                    warn!(submission.id = %subject, task.id = task_id, "a body is about another task than its URL is for: kept in quarantine");
                }
                Kind::Unreadable => {
                    warn!(submission.id = %subject, %reason, "a body is not a task: kept in quarantine");
                }
            }
        }
        self.metrics.quarantine_dropped(kept.dropped);
        self.metrics.quarantine_evicted(kept.evicted);
        if let Some(total) = kept.total {
            self.metrics.quarantine_holds(total.entries, total.bytes);
        }
        self.dropped += kept.dropped;
        self.evicted += kept.evicted;
        self.report_bounds();
    }

    fn report_bounds(&mut self) {
        let (dropped, evicted) = (self.dropped, self.evicted);
        let is_time = self
            .reported_at
            .is_none_or(|at| at.elapsed() >= REPORT_INTERVAL);
        if dropped + evicted == 0 || !is_time {
            return;
        }
        (self.dropped, self.evicted, self.reported_at) = (0, 0, Some(Instant::now()));
        warn!(
            dropped,
            evicted,
            "quarantine is at its bounds: {dropped} bodies were not kept, {evicted} of the oldest were deleted"
        );
    }
}
