//! Archives the result files of completed tasks before EvoLink's URLs expire.
//!
//! A scan finds the files that are due, in turns between the clients. Each file is fetched into the
//! storage, whole or not at all, and then the recorder stores that it is there. If this process
//! dies in between, another fetch replaces the copy by the same bytes.

mod fetch;
mod fresh_url;
mod scan;
mod sweep;

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::run_loop::{Failures, Progress, Worker, joined, varied};
use crate::archive::Fetches;
use crate::archive::fetch::Fetcher;
use crate::archive::storage::Storage;
use crate::background::Background;
use crate::clock::Clock;
use crate::domain::delivery::Holder;
use crate::domain::result_file::FileId;
use crate::evolink::{EvolinkClient, RateLimits};
use crate::observe::metrics::Metrics;
use crate::store::Store;
use crate::store::recorder::Recorder;
use crate::store::wake::Waiter;

/// The pause between two scans after the store failed.
const BACK_OFF: Duration = Duration::from_secs(5);

/// The shortest time between two scans. So a flood of callbacks does not become a flood of queries.
const SCAN_INTERVAL: Duration = Duration::from_millis(50);

/// The dependencies of an archiver.
#[derive(Debug)]
pub struct Dependencies {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub evolink: Arc<EvolinkClient>,
    pub rate_limits: Arc<RateLimits>,
    pub storage: Storage,
    pub fetcher: Fetcher,
    pub fetches: Fetches,
    /// The threads on which files are transferred.
    pub background: Background,
    pub clock: Clock,
    pub metrics: Metrics,
    /// The lease holder id of this process.
    pub holder: Holder,
    pub fetches_at_once: usize,
    /// Nothing is fetched while the storage has less free space, in bytes.
    pub min_free: u64,
    /// How long archived files are kept.
    pub retention: Duration,
    /// Cancelled when no more fetches may begin.
    pub stop: CancellationToken,
    /// Cancelled when the fetches under way must be abandoned.
    pub giving_up: CancellationToken,
}

#[derive(Debug)]
pub struct Archiver {
    dependencies: Dependencies,
}

/// The archiver with the fetches that it has under way.
pub struct ArchiverWorker {
    archiver: Arc<Archiver>,
    fetches: JoinSet<FileId>,
    running: BTreeSet<FileId>,
    sweep: JoinSet<()>,
    turns: scan::Turns,
    upkeep: sweep::Upkeep,
    waiter: Waiter,
    scans: Failures,
    not_before: Instant,
    is_scan_due: bool,
}

impl Archiver {
    pub const fn new(dependencies: Dependencies) -> Self {
        Self { dependencies }
    }

    pub fn worker(self) -> ArchiverWorker {
        ArchiverWorker {
            waiter: self.dependencies.store.wake().waiter(),
            fetches: JoinSet::new(),
            running: BTreeSet::new(),
            sweep: JoinSet::new(),
            turns: scan::Turns::default(),
            upkeep: sweep::Upkeep::default(),
            scans: Failures::of("the scan for result files"),
            not_before: Instant::now(),
            is_scan_due: true,
            archiver: Arc::new(self),
        }
    }
}

impl ArchiverWorker {
    fn end(&mut self, ended: Result<FileId, JoinError>) {
        if let Some(id) = joined(ended) {
            self.running.remove(&id);
            self.is_scan_due = true;
        }
    }

    fn begin_upkeep(&mut self) {
        while let Some(ended) = self.sweep.try_join_next() {
            joined(ended);
        }
        if self.sweep.is_empty()
            && let Some(work) = self.upkeep.due()
        {
            let archiver = Arc::clone(&self.archiver);
            self.sweep
                .spawn(async move { archiver.keep_up(work).await });
        }
    }
}

impl Worker for ArchiverWorker {
    const WORK: &'static str = "the archiver";
    const BACK_OFF: Duration = BACK_OFF;
    type Error = Infallible;

    async fn tick(&mut self, stop: &CancellationToken) -> Result<Progress, Infallible> {
        while let Some(ended) = self.fetches.try_join_next() {
            self.end(ended);
        }
        self.begin_upkeep();
        let free = (self.archiver.dependencies.fetches_at_once).saturating_sub(self.running.len());
        if free == 0 || !std::mem::take(&mut self.is_scan_due) {
            return Ok(Progress::Idle);
        }
        let began = Instant::now();
        let scanning = self.archiver.scan(&mut self.turns, &self.running, free);
        let Some(scanned) = stop.run_until_cancelled(scanning).await else {
            return Ok(Progress::Idle);
        };
        self.scans.note(&scanned);
        let pause = began.elapsed().max(SCAN_INTERVAL);
        self.not_before = Instant::now() + pause;
        match scanned {
            Ok(found) => {
                for view in found {
                    self.running.insert(view.file.id);
                    let archiver = Arc::clone(&self.archiver);
                    self.fetches
                        .spawn(async move { archiver.fetch(view).await });
                }
            }
            Err(_) => self.not_before = Instant::now() + varied(BACK_OFF),
        }
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        let fetches = self.archiver.dependencies.fetches.clone();
        tokio::select! {
            Some(ended) = self.fetches.join_next() => self.end(ended),
            () = async {
                sleep_until(self.not_before).await;
                tokio::select! {
                    () = self.waiter.wait() => {}
                    () = fetches.wanted_more() => {}
                }
            } => self.is_scan_due = true,
        }
    }

    async fn finish(mut self) {
        self.sweep.shutdown().await;
        while let Some(ended) = self.fetches.join_next().await {
            self.end(ended);
        }
    }
}
