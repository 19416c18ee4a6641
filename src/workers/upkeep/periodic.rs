//! The workers that do the same at intervals.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use futures_util::TryFutureExt as _;
use tokio::task::{JoinError, spawn_blocking};
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use crate::domain::delivery::DeliveryState;
use crate::observe::metrics::Metrics;
use crate::secrets::signing_files::{self, SigningFiles};
use crate::store::recorder::Recorder;
use crate::store::repeats::HEARTBEAT_INTERVAL;
use crate::store::{Store, StoreError};
use crate::workers::run_loop::{Progress, Worker, pause};

/// The time between two counts.
const COUNT_INTERVAL: Duration = Duration::from_secs(5);

/// Counts the undelivered deliveries of all replicas.
pub struct DeliveryCount {
    pub store: Arc<Store>,
    pub metrics: Metrics,
}

impl DeliveryCount {
    /// Counts what can be counted. One count may take too long while the others do not.
    async fn count(&self) -> Result<(), StoreError> {
        let (store, metrics) = (&self.store, &self.metrics);
        let of_state = |state| {
            let counting = store.count_deliveries(state);
            counting.map_ok(move |deliveries| metrics.deliveries_counted(state, deliveries))
        };
        let held = store.count_held_deliveries();
        let disabled = store.list_disabled_endpoints();
        let counts = [
            of_state(DeliveryState::Pending).await,
            of_state(DeliveryState::Dead).await,
            held.await.map(|held| metrics.deliveries_held_counted(held)),
            disabled
                .await
                .map(|all| metrics.disabled_counted(all.len())),
        ];
        counts.into_iter().collect()
    }
}

impl Worker for DeliveryCount {
    const WORK: &'static str = "counting deliveries";
    const BACK_OFF: Duration = COUNT_INTERVAL;
    type Error = StoreError;

    async fn tick(&mut self, stop: &CancellationToken) -> Result<Progress, StoreError> {
        match stop.run_until_cancelled(self.count()).await {
            Some(counted) => counted.map(|()| Progress::Idle),
            None => Ok(Progress::Unneeded),
        }
    }

    async fn wake_up(&mut self) {
        pause(COUNT_INTERVAL).await;
    }
}

/// Shows other processes that this one is alive while apps wait here, and repeats entries that the
/// store did not accept. Writes nothing while no app waits.
pub struct Heartbeat {
    pub recorder: Recorder,
    /// Whether other processes may have the store open too.
    pub is_shared: bool,
}

impl Worker for Heartbeat {
    const WORK: &'static str = "the watch of waiting apps";
    const BACK_OFF: Duration = HEARTBEAT_INTERVAL;
    type Error = Infallible;

    async fn tick(&mut self, _stop: &CancellationToken) -> Result<Progress, Infallible> {
        self.recorder.send_heartbeat(self.is_shared).await;
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        sleep(HEARTBEAT_INTERVAL).await;
    }
}

/// Reads the files of the signing secrets again.
pub struct SecretsWatch {
    pub files: Arc<SigningFiles>,
    pub metrics: Metrics,
}

impl Worker for SecretsWatch {
    const WORK: &'static str = "the watch of signing secrets";
    const BACK_OFF: Duration = signing_files::CHECK_INTERVAL;
    type Error = JoinError;

    async fn tick(&mut self, _stop: &CancellationToken) -> Result<Progress, JoinError> {
        let files = Arc::clone(&self.files);
        let refused = spawn_blocking(move || files.read_again()).await?;
        self.metrics.signing_files_refused(refused);
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        sleep(signing_files::CHECK_INTERVAL).await;
    }
}

#[cfg(test)]
mod tests {
    use sqlx::{Connection as _, Executor as _, SqliteConnection};

    use super::*;

    #[tokio::test]
    async fn a_count_that_fails_does_not_stop_the_others() {
        // Without its table, no delivery can be counted. Disabled endpoints are in another one.
        const BENEATH: &str = "INSERT INTO endpoint (name, disabled_at, reason)
                VALUES ('billing', 1757165031000, '410');
            ALTER TABLE delivery RENAME TO elsewhere";
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("receiver.db").display());
        let store = Arc::new(Store::open(url.as_str()).await.unwrap());
        let mut beneath = SqliteConnection::connect(&url).await.unwrap();
        beneath.execute(sqlx::raw_sql(BENEATH)).await.unwrap();
        let metrics = Metrics::new();
        let mut worker = DeliveryCount {
            store,
            metrics: metrics.clone(),
        };
        let counted = worker.tick(&CancellationToken::new()).await;
        assert!(counted.is_err(), "{counted:?}");
        let shown = metrics.render();
        let disabled = "\nevolink_receiver_endpoints_disabled 1\n";
        assert!(shown.contains(disabled), "{shown}");
    }
}
