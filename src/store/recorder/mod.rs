//! The recorder, the only writer of changes to tasks.
//!
//! Callers queue entries and wait. The recorder takes everything queued, writes it in one
//! transaction, commits, and only then answers. So one wait for the disk acknowledges many
//! callbacks. The recorder owns the transaction, not the request, so a client that disconnects
//! cannot interrupt it (rules F1, F2). Each replica has a recorder. They write one at a time.

pub mod apply;
mod batch;
pub mod calls;
mod connection;
pub mod entry;
pub mod health;
pub mod ledger;
pub mod load;
pub mod publish;
pub mod record;
mod results;
pub mod rewind;
pub mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::quarantine::{Bounds, Reporter};
use super::repeats::Apps;
use super::{Store, StoreError};
use crate::clock::Clock;
use crate::domain::delivery::routes::Routes;
use crate::domain::delivery::{Holder, LEASE};
use crate::domain::task::confirmation::Policy;
use crate::observe::metrics::Metrics;
use crate::store::engine::writer::{EventTable, Writer};
use entry::{Entry, Receipt};
pub use health::{RecorderHealth, WriteState};

/// The capacity of the queue. When it is full, a caller is asked to retry, which EvoLink does.
const QUEUE_ENTRIES: usize = 4096;

/// The limit of entries in one transaction. While one commits, the next batch accumulates.
const BATCH_ENTRIES_MAX: usize = 1024;

/// The delay before reconnecting to a server that has disconnected or refused the recorder.
const RECONNECT_AFTER: Duration = Duration::from_secs(1);

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
    policy: Arc<ArcSwap<Policy>>,
    metrics: Metrics,
    bounds: Bounds,
    routes: Arc<ArcSwap<Routes>>,
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
            routes: Arc::new(ArcSwap::from_pointee(routes)),
            clock,
            archives_files: false,
            reporter: Reporter::new(metrics.clone()),
            policy: Arc::new(ArcSwap::from_pointee(policy.into())),
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
    pub fn with_routes(self, routes: Routes) -> Self {
        self.routes.store(Arc::new(routes));
        self
    }

    /// Where outcomes are delivered to. The next batch takes what is stored here.
    pub fn routes(&self) -> Arc<ArcSwap<Routes>> {
        Arc::clone(&self.routes)
    }

    /// When tasks are polled, and what is confirmed. The next batch takes what is stored here.
    pub fn policy(&self) -> Arc<ArcSwap<Policy>> {
        Arc::clone(&self.policy)
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
}
