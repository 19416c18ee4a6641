//! How many deliveries are not delivered, for `/metrics`: counted now and then, in all replicas together.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use crate::domain::delivery::DeliveryState;
use crate::metrics::Metrics;
use crate::store::Store;

const INTERVAL: Duration = Duration::from_secs(5);

impl Store {
    /// Runs until `stop`.
    pub async fn count_deliveries_until(&self, metrics: Metrics, stop: CancellationToken) {
        while !stop.is_cancelled() {
            for state in [DeliveryState::Pending, DeliveryState::Dead] {
                match self.count_deliveries(state).await {
                    Ok(deliveries) => metrics.deliveries_counted(state, deliveries),
                    // Whoever works on them says so louder.
                    Err(error) => debug!(error = %error, "could not count deliveries"),
                }
            }
            stop.run_until_cancelled(sleep(INTERVAL)).await;
        }
    }
}
