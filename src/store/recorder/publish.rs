//! Publishes what was recorded: to the metrics, to the log, and to waiters.

use tracing::{error, info, warn};

use super::RecorderWorker;
use super::entry::Receipt;
use super::ledger::{Ledger, NewDoubt};
use crate::domain::ids::{SubmissionId, TaskId};
use crate::observe::metrics::Metrics;
use crate::store::StoreError;
use crate::store::deliveries::Change;

impl RecorderWorker {
    /// Updates the metrics and the log after a commit.
    pub fn report_batch(&mut self, ledger: &Ledger, receipts: &[Receipt]) {
        self.reporter.report(&ledger.kept);
        for event in &ledger.events {
            let kind = ledger.records[event.record].task.kind;
            self.metrics
                .event_recorded(event.event_type, event.source, kind);
        }
        let restored = |receipt: &&Receipt| matches!(receipt, Receipt::Seen { restored: true, .. });
        for _ in receipts.iter().filter(restored) {
            self.metrics.record_restored();
        }
        ledger
            .deliveries
            .update_metrics(&self.routes.load(), &self.metrics);
        for NewDoubt { record, doubted } in &ledger.doubted {
            let task = &ledger.records[*record].task;
            let (reason, status) = (doubted.reason.into_str(), doubted.state.into_str());
            self.metrics.outcome_doubted(doubted.reason);
            let id = task.task_id().map_or("", TaskId::as_str);
            info!(task.id = id, submission.id = %task.submission_id, status, reason, "a callback reports an outcome that is not confirmed; EvoLink is polled to confirm it");
        }
    }

    /// Logs an error that callers get. After a fatal one, disables recording.
    pub fn report_error(&self, error: &StoreError) {
        if error.is_fatal() {
            self.store.fail(error, &self.failed);
        } else {
            error!(error = %error, "could not record; callers get 503 and try again");
        }
    }
}

/// Reports when a server stops or begins to wait for its disk while we are connected. Our settings
/// do not change that.
pub fn report_durability(was_durable: &mut bool, is_durable: bool, metrics: &Metrics) {
    metrics.store_durable(is_durable);
    let before = std::mem::replace(was_durable, is_durable);
    match (before, is_durable) {
        (true, false) => warn!(
            "the PostgreSQL server runs with fsync=off or full_page_writes=off: a power cut loses callbacks that were \
             acknowledged"
        ),
        (false, true) => info!("the PostgreSQL server waits for its disk again"),
        (true, true) | (false, false) => {}
    }
}

/// Returns whether a waiter may be interested in the batch: an event, the end of a submit without
/// an event, or a delivery to be sent again.
pub fn has_changes(ledger: &Ledger) -> bool {
    let counted = &ledger.deliveries.counted;
    !ledger.events.is_empty()
        || ledger.files.are_due_or_ended(ledger.now)
        || !ledger.submit_ends.is_empty()
        || !ledger.deliveries.endpoints.is_empty()
        || counted.iter().any(|(_, change)| *change == Change::Revived)
}

/// Lists the tasks with news: an event, or a submit that ended without one.
pub fn changed_submissions(ledger: &Ledger) -> impl Iterator<Item = SubmissionId> {
    let ended = ledger.submit_ends.iter().map(|(record, _)| *record);
    let changed = ledger.events.iter().map(|event| event.record);
    let files = &ledger.files;
    let files = files
        .ended
        .iter()
        .filter_map(|id| files.records.get(&id.task_seq()).copied());
    changed
        .chain(ended)
        .chain(files)
        .map(|record| ledger.records[record].task.submission_id)
}
