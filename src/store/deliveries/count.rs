//! Delivery metrics: counts each result as it is committed, and periodically counts the undelivered
//! ones of all replicas.

use std::time::Duration;

use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::debug;

use super::{Change, Deliveries};
use crate::domain::delivery::DeliveryState;
use crate::domain::delivery::routes::Routes;
use crate::observe::metrics::{DeliveryEnd, Metrics};
use crate::store::Store;

const INTERVAL: Duration = Duration::from_secs(5);

impl Store {
    /// Runs until `stop`.
    pub async fn count_deliveries_until(&self, metrics: Metrics, stop: CancellationToken) {
        while !stop.is_cancelled() {
            for state in [DeliveryState::Pending, DeliveryState::Dead] {
                match self.count_deliveries(state).await {
                    Ok(deliveries) => metrics.deliveries_counted(state, deliveries),
                    // The worker that needs these rows logs the same failure at a higher level.
                    Err(error) => debug!(error = %error, "could not count deliveries"),
                }
            }
            match self.count_held_deliveries().await {
                Ok(deliveries) => metrics.deliveries_held_counted(deliveries),
                Err(error) => debug!(error = %error, "could not count held deliveries"),
            }
            match self.list_disabled_endpoints().await {
                Ok(disabled) => metrics.disabled_counted(disabled.len()),
                Err(error) => debug!(error = %error, "could not count disabled endpoints"),
            }
            stop.run_until_cancelled(sleep(INTERVAL)).await;
        }
    }
}

impl Deliveries {
    /// Updates the metrics once the batch is committed.
    pub fn tell(&self, routes: &Routes, metrics: &Metrics) {
        for made in &self.made {
            metrics.delivery_made(routes.label(&made.endpoint));
        }
        for (endpoint, change) in &self.counted {
            let label = routes.label(endpoint);
            match change {
                Change::Failed => metrics.delivery_ended(label, DeliveryEnd::Failed),
                Change::Dead => metrics.delivery_ended(label, DeliveryEnd::Dead),
                Change::Revived => metrics.delivery_revived(label),
                Change::Delivered { was_dead } => {
                    if *was_dead {
                        metrics.delivery_revived(label);
                    }
                    metrics.delivery_ended(label, DeliveryEnd::Delivered);
                }
            }
        }
    }
}
