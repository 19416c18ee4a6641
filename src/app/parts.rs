//! The components of a running process, and how they end: in order, in time, and all together.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

/// The trackers of the components, and the tokens that stop them.
pub struct Parts {
    pub listeners: TaskTracker,
    pub workers: TaskTracker,
    /// The components that wait for EvoLink's or an endpoint's answers: submits, the reconciler and
    /// the forwarder.
    pub calls: TaskTracker,
    /// Cancelled when no new work may begin.
    pub stopping: CancellationToken,
    /// Cancelled when unanswered calls must be abandoned.
    pub giving_up: CancellationToken,
    /// Cancelled when nothing that needs recording can arrive any more.
    pub recorder_stop: CancellationToken,
    /// Cancelled when a component ended although it was not stopped.
    pub broken: CancellationToken,
}

impl Parts {
    pub fn new(stop: &CancellationToken) -> Self {
        Self {
            listeners: TaskTracker::new(),
            workers: TaskTracker::new(),
            calls: TaskTracker::new(),
            stopping: stop.child_token(),
            giving_up: CancellationToken::new(),
            recorder_stop: CancellationToken::new(),
            broken: CancellationToken::new(),
        }
    }

    /// Waits up to `patience` for the calls under way, then abandons the unanswered ones. These
    /// have the rest of the drain to clean up. Submits are recorded as unknown and their apps are
    /// answered. Polls release their claims, and deliveries stay due.
    pub async fn end_calls(&self, patience: Duration) {
        self.calls.close();
        let _ = timeout(patience, self.calls.wait()).await;
        self.giving_up.cancel();
    }

    /// Runs a component. If it ends or panics before `stop`, the whole process stops: a restart is
    /// better than half a receiver.
    pub fn run<F>(
        &self,
        name: &'static str,
        tracker: &TaskTracker,
        stop: &CancellationToken,
        part: F,
    ) where
        F: Future + Send + 'static,
        F::Output: Send,
    {
        let stop = stop.clone();
        let broken = self.broken.clone().drop_guard();
        tracker.spawn(async move {
            part.await;
            if stop.is_cancelled() {
                broken.disarm();
            } else {
                error!("{name} ended unexpectedly");
            }
        });
    }
}

/// Waits until everything that `tracker` runs has ended, but at most for `within`.
pub async fn finish(name: &str, tracker: &TaskTracker, within: Duration) {
    tracker.close();
    if timeout(within, tracker.wait()).await.is_err() {
        warn!("{name} did not end in time");
    }
}
