//! The workers that do the same at intervals.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

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

impl Worker for DeliveryCount {
    const WORK: &'static str = "counting deliveries";
    const BACK_OFF: Duration = COUNT_INTERVAL;
    type Error = StoreError;

    async fn tick(&mut self, _stop: &CancellationToken) -> Result<Progress, StoreError> {
        for state in [DeliveryState::Pending, DeliveryState::Dead] {
            let deliveries = self.store.count_deliveries(state).await?;
            self.metrics.deliveries_counted(state, deliveries);
        }
        let held = self.store.count_held_deliveries().await?;
        self.metrics.deliveries_held_counted(held);
        let disabled = self.store.list_disabled_endpoints().await?;
        self.metrics.disabled_counted(disabled.len());
        Ok(Progress::Idle)
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
        self.recorder.beat(self.is_shared).await;
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
    const BACK_OFF: Duration = signing_files::LOOK_INTERVAL;
    type Error = JoinError;

    async fn tick(&mut self, _stop: &CancellationToken) -> Result<Progress, JoinError> {
        let files = Arc::clone(&self.files);
        let refused = spawn_blocking(move || files.read_again()).await?;
        self.metrics.signing_files_refused(refused);
        Ok(Progress::Idle)
    }

    async fn wake_up(&mut self) {
        sleep(signing_files::LOOK_INTERVAL).await;
    }
}
