//! Records one batch: one transaction, and the receipts for its callers.

use std::time::Instant;

use tokio::time::timeout_at;
use tracing::warn;

use super::connection::connected;
use super::entry::{Entry, Receipt};
use super::ledger::Ledger;
use super::publish::{changed_submissions, has_changes, report_durability};
use super::{Job, RecorderWorker, load, rewind, write};
use crate::store::StoreError;
use crate::store::engine::writer::EventTable;
use crate::store::repeats::Context;

/// How often a batch is tried if other recorders conflict with it, or if space was freed on a full
/// disk.
const BATCH_TRIES: u32 = 3;

impl RecorderWorker {
    pub(super) async fn record_all(&mut self, mut jobs: Vec<Job>) {
        jobs.retain(is_wanted);
        if jobs.is_empty() {
            return;
        }
        match self.record_batch(&jobs).await {
            Ok(receipts) => answer(jobs, receipts.into_iter().map(Ok)),
            Err(error) if error.may_be_one_entry() && jobs.len() > 1 => {
                warn!(error = %error, entries = jobs.len(), "a batch was refused: recording its entries one by one");
                self.record_each(jobs).await;
            }
            Err(error) => {
                self.report_error(&error);
                let errors = std::iter::repeat_n(error, jobs.len()).map(Err);
                answer(jobs, errors);
            }
        }
        // All callers are answered. What follows is a step of its own.
        self.health.step_started(Instant::now());
        self.follow_up().await;
    }

    /// Records the entries one by one, until an error shows that the store is to blame.
    async fn record_each(&mut self, jobs: Vec<Job>) {
        let mut fault = None;
        for job in jobs.into_iter().filter(is_wanted) {
            let receipt = match &fault {
                Some(error) => Err(StoreError::clone(error)),
                None => {
                    let receipts = self.record_batch(std::slice::from_ref(&job)).await;
                    receipts.and_then(|mut receipts| receipts.pop().ok_or(StoreError::Stopped))
                }
            };
            if let (Err(error), None) = (&receipt, &fault) {
                self.report_error(error);
                if super::health::is_of_store(error) {
                    fault = Some(error.clone());
                }
            }
            answer(vec![job], std::iter::once(receipt));
        }
    }

    /// Runs one transaction. Retries it if the obstacle has been removed.
    async fn record_batch(&mut self, jobs: &[Job]) -> Result<Vec<Receipt>, StoreError> {
        let entries: Vec<&Entry> = jobs.iter().map(|job| &job.entry).collect();
        let mut tries = 1;
        let deadline = self
            .store
            .batch_timeout()
            .map(|limit| Instant::now() + limit);
        loop {
            let began = Instant::now();
            match self.commit_in_time(&entries, deadline).await {
                Ok((ledger, receipts)) => {
                    self.update_health(None);
                    self.metrics.batch_recorded(entries.len(), began.elapsed());
                    self.report_batch(&ledger, &receipts);
                    self.apps.forget(&ledger.unanswered.answered);
                    self.apps.forget_left(&ledger.unanswered.lost);
                    self.notify_pending |= has_changes(&ledger);
                    self.store.log_written();
                    self.store.tail().notify(changed_submissions(&ledger));
                    return Ok(receipts);
                }
                Err(error) => {
                    let error = self.store.check_files().err().unwrap_or(error);
                    // The connection may hold an open transaction. Nothing may be written into it.
                    self.disconnect().await;
                    // The batch may have been written nevertheless.
                    self.store.tail().notify_all();
                    let is_contended = matches!(error, StoreError::Contended(_));
                    let is_over = is_contended || self.store.free_space_after(&error, began).await;
                    if !(is_over && tries < BATCH_TRIES) {
                        self.update_health(Some(&error));
                        return Err(error);
                    }
                    tries += 1;
                }
            }
        }
    }

    async fn commit_in_time(
        &mut self,
        entries: &[&Entry],
        deadline: Option<Instant>,
    ) -> Result<(Ledger, Vec<Receipt>), StoreError> {
        match deadline {
            Some(deadline) => timeout_at(deadline.into(), self.commit(entries))
                .await
                .unwrap_or(Err(StoreError::TooSlow)),
            None => self.commit(entries).await,
        }
    }

    async fn commit(&mut self, entries: &[&Entry]) -> Result<(Ledger, Vec<Receipt>), StoreError> {
        let writer = connected(&mut self.writer, &self.store, &self.failed).await?;
        let before = self
            .events
            .map(|events| self.store.with_events_seen(events));
        let last = rewind::begin(writer, before).await?;
        self.store.stamp(writer).await?;
        report_durability(&mut self.was_durable, last.is_durable, &self.metrics);
        let (now, policy) = (self.clock.now(), self.policy.load_full());
        let routes = self.routes.load_full();
        let mut ledger = load::load(
            writer,
            entries,
            now,
            (*policy).clone(),
            self.store.is_shared(),
        )
        .await?;
        ledger.archives_files = self.archives_files;
        ledger.unanswered.context = Some(Context {
            apps: self.apps.clone(),
            holder: routes.holder.clone(),
            is_shared: self.store.is_shared(),
        });
        let receipts: Vec<Receipt> = entries.iter().map(|entry| ledger.apply(entry)).collect();
        ledger.create_deliveries(&routes);
        write::write_and_commit(writer, &mut ledger, last, &self.bounds, &routes).await?;
        let newest = last.events.newest + i64::try_from(ledger.events.len()).unwrap_or(0);
        self.events = Some(EventTable {
            newest,
            ..last.events
        });
        self.store.set_newest_event(newest);
        let tasks = ledger.records.iter().filter_map(|record| record.seq);
        let newest_task = tasks.max().unwrap_or(0).max(last.task);
        // Changes committed to a file that was deleted or moved are lost when this process ends.
        self.store.check_files()?;
        self.store.acknowledged(newest_task, newest);
        Ok((ledger, receipts))
    }

    pub(super) async fn disconnect(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.close().await;
        }
    }

    /// Does the work that can wait until all callers are answered: notifies waiters, in this
    /// process and in others.
    pub(super) async fn follow_up(&mut self) {
        if self.notify_pending {
            self.store.wake().notify();
        }
        // Without a connection, other processes are notified after the next batch or probe.
        let Some(writer) = &mut self.writer else {
            return;
        };
        let (store, notify_pending) = (&self.store, &mut self.notify_pending);
        let following = async {
            if *notify_pending {
                writer.notify().await?;
                *notify_pending = false;
            }
            store.after_commit(writer).await
        };
        if let Err(error) = following.await {
            if error.is_fatal() {
                self.report_error(&error);
            } else {
                warn!(error = %error, "could not notify other replicas or checkpoint after a commit; reconnecting, and no recorded data is lost");
            }
            self.disconnect().await;
        }
    }
}

/// Returns whether to record a job. One that matters only to its caller is skipped if the caller
/// has left.
fn is_wanted(job: &Job) -> bool {
    !(job.reply.is_closed() && job.entry.is_for_caller())
}

/// Sends the receipts. For a caller that has left, the entry is recorded nevertheless.
fn answer(jobs: Vec<Job>, receipts: impl Iterator<Item = Result<Receipt, StoreError>>) {
    for (job, receipt) in jobs.into_iter().zip(receipts) {
        let _ = job.reply.send(receipt);
    }
}
