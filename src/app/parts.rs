//! The parts of a running process, and how they end: in order, in time, and not without each other.

use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::{error, warn};

/// What runs, and how it is told to end.
pub struct Parts {
    pub listeners: TaskTracker,
    pub workers: TaskTracker,
    /// Those who wait for EvoLink's answers: submits, and the reconciler.
    pub calls: TaskTracker,
    /// No new work from here on.
    pub stopping: CancellationToken,
    /// Calls that EvoLink has not answered are not waited for any longer.
    pub giving_up: CancellationToken,
    /// Nobody brings anything to be recorded any more.
    pub recorder_stop: CancellationToken,
    /// A part ended though nobody told it to.
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

    /// Lets EvoLink answer the calls under way for as long as `patience`. Those that it has not answered then are told to
    /// give up, which leaves them the rest of the drain: submits to be recorded as unknown and to tell their apps, polls to
    /// be given back.
    pub async fn end_calls(&self, patience: Duration) {
        self.calls.close();
        let _ = timeout(patience, self.calls.wait()).await;
        self.giving_up.cancel();
    }

    /// A part that ends, or panics, before it was told to takes the whole process with it: half a receiver is worse than
    /// one that is started anew.
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
                error!("{name} ended by itself");
            }
        });
    }
}

/// Waits for what `tracker` runs, but not for ever.
pub async fn finish(name: &str, tracker: &TaskTracker, within: Duration) {
    tracker.close();
    if timeout(within, tracker.wait()).await.is_err() {
        warn!("{name} did not end in time");
    }
}
