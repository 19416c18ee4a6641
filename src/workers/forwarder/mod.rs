//! Delivers outcomes: sends each delivery to its endpoint until the endpoint confirms it or the
//! delivery is dead.
//!
//! A scan finds the endpoints that have due deliveries. Each endpoint has its own queue, and
//! attempts run concurrently, so no endpoint waits for another. The lease of a delivery ensures
//! that only one process sends it. The recorder stores the outcome of each attempt, like everything
//! that is written. If this process dies, the next process that finds the delivery sends it again.

mod answer;
mod attempt;
mod queues;
mod request;
mod scan;
#[cfg(test)]
mod tests;

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::breaker::Change;
use super::run_loop::{Failures, Progress, Worker, joined, varied};
use crate::clock::Clock;
use crate::domain::delivery::{EndpointKey, Holder};
use crate::egress::{Egress, EndpointUrls};
use crate::observe::metrics::Metrics;
use crate::secrets::signing_files::SigningFiles;
use crate::store::recorder::Recorder;
use crate::store::wake::Waiter;
use crate::store::{Store, StoreError};
use crate::task_object::TaskObjects;
use attempt::Ended;
use queues::Queues;

/// The pause between two scans after the store failed.
const BACK_OFF: Duration = Duration::from_secs(5);

/// The dependencies of a forwarder.
#[derive(Debug)]
pub struct Dependencies {
    pub store: Arc<Store>,
    pub recorder: Recorder,
    pub egress: Egress,
    pub signing_files: Arc<SigningFiles>,
    /// The URLs of the standing endpoints.
    pub endpoints: EndpointUrls,
    pub task_objects: TaskObjects,
    pub clock: Clock,
    pub metrics: Metrics,
    /// The lease holder id of this process. The recorder creates deliveries with it.
    pub holder: Holder,
    /// The maximum number of attempts at the same time, to all endpoints together.
    pub at_once: usize,
    /// Cancelled when no more attempts may begin.
    pub stop: CancellationToken,
    /// Cancelled when the attempts under way must be abandoned.
    pub giving_up: CancellationToken,
}

#[derive(Debug)]
pub struct Forwarder {
    dependencies: Dependencies,
    /// The endpoints that were disabled at the last scan. The store may know of more.
    disabled: Mutex<HashSet<EndpointKey>>,
}

/// The forwarder with the attempts that it has under way.
pub struct ForwarderWorker {
    forwarder: Arc<Forwarder>,
    queues: Queues,
    attempts: JoinSet<Ended>,
    waiter: Waiter,
    next: Next,
    is_scan_due: bool,
    scans: Failures,
}

/// When to scan again.
struct Next {
    /// Limits scans to half of the time, however many endpoints there are.
    not_before: Instant,
    due: Instant,
}

impl Forwarder {
    pub fn new(dependencies: Dependencies) -> Self {
        Self {
            dependencies,
            disabled: Mutex::default(),
        }
    }

    pub fn worker(self) -> ForwarderWorker {
        let now = Instant::now();
        ForwarderWorker {
            queues: Queues::new(self.dependencies.at_once),
            attempts: JoinSet::new(),
            waiter: self.dependencies.store.wake().waiter(),
            next: Next {
                not_before: now,
                due: now,
            },
            is_scan_due: true,
            scans: Failures::of("the scan for due deliveries"),
            forwarder: Arc::new(self),
        }
    }

    /// Scans for due work. Returns when to scan again. `None` if the scan was cut off by a stop.
    async fn scan(&self, queues: &mut Queues) -> Option<Result<Next, StoreError>> {
        let began = Instant::now();
        let stop = &self.dependencies.stop;
        let scanned = stop.run_until_cancelled(self.try_scan(queues)).await?;
        let now = Instant::now();
        Some(scanned.map(|due_in| Next {
            not_before: now + began.elapsed(),
            due: now + due_in,
        }))
    }

    /// Begins as many attempts as there are free slots. The loop ends, because a queue that was
    /// filled either has something to send or has no more in the store.
    async fn begin(self: &Arc<Self>, queues: &mut Queues, attempts: &mut JoinSet<Ended>) {
        loop {
            while let Some((delivery, permit)) = queues.next(self.dependencies.clock.now()) {
                let this = Arc::clone(self);
                attempts.spawn(async move { this.attempt(delivery, permit).await });
            }
            if !self.fill_queues(queues).await {
                return;
            }
        }
    }

    fn end(&self, queues: &mut Queues, ended: Result<Ended, JoinError>) {
        let Some(ended) = joined(ended) else { return };
        let endpoint = &ended.endpoint;
        match queues.end(&ended, self.dependencies.clock.now()) {
            Some(Change::Opened) => {
                warn!(endpoint = %endpoint, "an endpoint is unavailable: it gets a few attempts at a time until it answers");
            }
            Some(Change::Closed) => {
                info!(endpoint = %endpoint, "an endpoint answers again");
            }
            None => {}
        }
    }

    fn disabled(&self) -> MutexGuard<'_, HashSet<EndpointKey>> {
        self.disabled.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Worker for ForwarderWorker {
    const WORK: &'static str = "the forwarder";
    const BACK_OFF: Duration = BACK_OFF;
    type Error = Infallible;

    async fn tick(&mut self, stop: &CancellationToken) -> Result<Progress, Infallible> {
        let Self {
            forwarder,
            queues,
            attempts,
            ..
        } = self;
        while let Some(ended) = attempts.try_join_next() {
            forwarder.end(queues, ended);
        }
        if std::mem::take(&mut self.is_scan_due) {
            let Some(scanned) = forwarder.scan(queues).await else {
                return Ok(Progress::Unneeded);
            };
            self.scans.note(&scanned);
            // Deliveries in the queues are sent even if the store cannot be scanned.
            self.next = scanned.unwrap_or_else(|_| Next::after_a_failure());
        }
        if !stop.is_cancelled() {
            forwarder.begin(queues, attempts).await;
        }
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        tokio::select! {
            Some(ended) = self.attempts.join_next() => self.forwarder.end(&mut self.queues, ended),
            () = self.next.wait(&mut self.waiter) => self.is_scan_due = true,
        }
    }

    async fn finish(mut self) {
        while let Some(ended) = self.attempts.join_next().await {
            self.forwarder.end(&mut self.queues, ended);
        }
    }
}

impl Next {
    fn after_a_failure() -> Self {
        let not_before = Instant::now() + varied(BACK_OFF);
        Self {
            not_before,
            due: not_before,
        }
    }

    /// Waits until there may be something to do. Cancelling the wait loses nothing.
    async fn wait(&self, waiter: &mut Waiter) {
        sleep_until(self.not_before).await;
        tokio::select! {
            () = waiter.wait() => {}
            () = sleep_until(self.due) => {}
        }
    }
}
