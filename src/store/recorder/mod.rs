//! The recorder, the only writer of changes to tasks.
//!
//! Callers queue entries and wait. The recorder takes everything queued, writes it in one
//! transaction, commits, and only then answers. So one wait for the disk acknowledges many
//! callbacks. The recorder owns the transaction, not the request, so a client that disconnects
//! cannot interrupt it (rules F1, F2). Each replica has a recorder. They write one at a time.

pub mod apply;
pub mod calls;
pub mod entry;
pub mod health;
pub mod ledger;
pub mod load;
pub mod publish;
pub mod record;
pub mod rewind;
pub mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::quarantine::{Bounds, Reporter};
use super::repeats::{Apps, Context};
use super::{Store, StoreError};
use crate::clock::Clock;
use crate::domain::delivery::routes::Routes;
use crate::domain::delivery::{Holder, LEASE};
use crate::domain::task::confirmation::Policy;
use crate::observe::metrics::Metrics;
use crate::store::engine::writer::{EventTable, Writer};
use entry::{Entry, Receipt};
pub use health::{RecorderHealth, WriteState};
use ledger::Ledger;
use publish::{changed_submissions, has_changes, report_durability};

/// The capacity of the queue. When it is full, a caller is asked to retry, which EvoLink does.
const QUEUE_ENTRIES: usize = 4096;

/// The limit of entries in one transaction. While one commits, the next batch accumulates.
const BATCH_ENTRIES_MAX: usize = 1024;

/// The delay before reconnecting to a server that has disconnected or refused the recorder.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

/// How often a batch is tried if other recorders conflict with it, or if space was freed on a full
/// disk.
const BATCH_TRIES: u32 = 3;

/// The handle by which callers reach the recorder. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Recorder {
    queue: mpsc::Sender<Job>,
    failed: CancellationToken,
    apps: Apps,
    health: RecorderHealth,
    probes: mpsc::Sender<health::Probe>,
}

#[derive(Debug)]
struct Job {
    entry: Entry,
    queued_at: Instant,
    reply: oneshot::Sender<Result<Receipt, StoreError>>,
}

/// The state that the recorder runs with. Call `run` in a task of its own.
pub struct RecorderWorker {
    store: Arc<Store>,
    clock: Clock,
    policy: Policy,
    metrics: Metrics,
    bounds: Bounds,
    routes: Routes,
    archives_files: bool,
    reporter: Reporter,
    queue: mpsc::Receiver<Job>,
    failed: CancellationToken,
    apps: Apps,
    health: RecorderHealth,
    probes: mpsc::Receiver<health::Probe>,
    /// `None` after an error. On SQLite also until there is something to record.
    writer: Option<Writer>,
    /// Whether a notification of something recorded is still to be sent.
    notify_pending: bool,
    /// The event table when this process last saw it.
    events: Option<EventTable>,
    /// Whether the database waited for its disk when that was last checked.
    was_durable: bool,
}

impl Recorder {
    pub fn new(
        store: Arc<Store>,
        clock: Clock,
        policy: impl Into<Policy>,
        metrics: Metrics,
    ) -> (Self, RecorderWorker) {
        let (sender, receiver) = mpsc::channel(QUEUE_ENTRIES);
        let failed = CancellationToken::new();
        let apps = Apps::default();
        let (health, (probe_sender, probes)) = (RecorderHealth::default(), health::probes());
        let recorder = Self {
            queue: sender,
            failed: failed.clone(),
            apps: apps.clone(),
            health: health.clone(),
            probes: probe_sender,
        };
        let routes = Routes {
            standing: Vec::new(),
            holder: Holder::new(clock.now()),
            lease: LEASE,
        };
        let worker = RecorderWorker {
            store,
            routes,
            clock,
            archives_files: false,
            reporter: Reporter::new(metrics.clone()),
            policy: policy.into(),
            metrics,
            bounds: Bounds::DEFAULT,
            queue: receiver,
            failed,
            apps,
            health,
            probes,
            writer: None,
            notify_pending: false,
            events: None,
            was_durable: true,
        };
        (recorder, worker)
    }

    /// Records `entry`. When this returns a receipt, the entry is on the disk.
    ///
    /// An entry that matters only to its caller (`Entry::is_for_caller`) is not recorded if the
    /// future is dropped while it is queued. After that, and for any other entry, dropping the
    /// future does not undo it.
    ///
    /// # Errors
    /// `Overloaded` at once if the queue is full; otherwise the error of the write. After an error
    /// the entry may have been written nevertheless. Every entry may be recorded again.
    pub async fn record(&self, entry: Entry) -> Result<Receipt, StoreError> {
        self.enqueue(entry)?
            .await
            .unwrap_or(Err(StoreError::Stopped))
    }

    /// Queues `entry` without waiting for its receipt. It is lost if the queue is full, or if it
    /// cannot be written.
    pub fn record_in_background(&self, entry: Entry) {
        let _ = self.enqueue(entry);
    }

    fn enqueue(
        &self,
        entry: Entry,
    ) -> Result<oneshot::Receiver<Result<Receipt, StoreError>>, StoreError> {
        let (reply, receipt) = oneshot::channel();
        let job = Job {
            entry,
            queued_at: Instant::now(),
            reply,
        };
        match self.queue.try_send(job) {
            Ok(()) => Ok(receipt),
            Err(mpsc::error::TrySendError::Full(_)) => Err(StoreError::Overloaded),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(StoreError::Stopped),
        }
    }

    /// Returns the apps that wait at this process.
    pub const fn apps(&self) -> &Apps {
        &self.apps
    }

    /// Cancelled once the disk has failed: recording is disabled until the process restarts.
    pub const fn failed(&self) -> &CancellationToken {
        &self.failed
    }
}

impl RecorderWorker {
    /// Replaces the default bounds of the quarantine.
    #[must_use]
    pub const fn with_bounds(mut self, bounds: Bounds) -> Self {
        self.bounds = bounds;
        self
    }

    /// Sets where outcomes are delivered to. Without it, nowhere.
    #[must_use]
    pub fn with_routes(mut self, routes: Routes) -> Self {
        self.routes = routes;
        self
    }

    /// Sets whether the files of completed tasks are archived. By default they are not.
    #[must_use]
    pub const fn archiving_files(mut self, archives_files: bool) -> Self {
        self.archives_files = archives_files;
        self
    }

    /// Runs until `stop`, then records what is queued and returns.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut jobs = Vec::new();
        stop.run_until_cancelled(self.connect_first()).await;
        loop {
            tokio::select! {
                biased;
                received = self.queue.recv_many(&mut jobs, BATCH_ENTRIES_MAX) => {
                    if received == 0 {
                        break;
                    }
                    self.health.step_started(jobs[0].queued_at);
                    self.record_all(std::mem::take(&mut jobs)).await;
                    self.health.became_idle();
                }
                Some(probe) = self.probes.recv() => {
                    self.probe().await;
                    let _ = probe.send(());
                }
                // Reconnect early, so that no callback has to wait for the new connection.
                () = sleep(RECONNECT_AFTER), if self.writer.is_none() && self.store.is_shared() => {
                    if stop.run_until_cancelled(self.probe()).await.is_none() {
                        // The interrupted probe may have left a transaction open.
                        self.disconnect().await;
                        self.health.became_idle();
                    }
                }
                () = stop.cancelled(), if !self.queue.is_closed() => self.queue.close(),
            }
        }
        self.disconnect().await;
    }

    async fn record_all(&mut self, mut jobs: Vec<Job>) {
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
                if crate::store::recorder::health::is_of_store(error) {
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
        if self.failed.is_cancelled() {
            return Err(StoreError::Stopped);
        }
        let writer = match &mut self.writer {
            Some(writer) => writer,
            none => none.insert(self.store.connect_writer().await?),
        };
        self.store.check_files()?;
        let before = self
            .events
            .map(|events| self.store.with_events_seen(events));
        let last = crate::store::recorder::rewind::begin(writer, before).await?;
        self.store.stamp(writer).await?;
        report_durability(&mut self.was_durable, last.is_durable, &self.metrics);
        let (now, policy) = (self.clock.now(), self.policy.clone());
        let mut ledger = load::load(writer, entries, now, policy, self.store.is_shared()).await?;
        ledger.archives_files = self.archives_files;
        ledger.unanswered.context = Some(Context {
            apps: self.apps.clone(),
            holder: self.routes.holder.clone(),
            is_shared: self.store.is_shared(),
        });
        let receipts: Vec<Receipt> = entries.iter().map(|entry| ledger.apply(entry)).collect();
        ledger.create_deliveries(&self.routes);
        write::write_and_commit(writer, &mut ledger, last, &self.bounds, &self.routes).await?;
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

    async fn disconnect(&mut self) {
        if let Some(writer) = self.writer.take() {
            writer.close().await;
        }
    }

    /// Does the work that can wait until all callers are answered: notifies waiters, in this
    /// process and in others.
    async fn follow_up(&mut self) {
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
