//! Delivery metrics: counts each result as it is committed.

use super::{Change, Deliveries};
use crate::domain::delivery::routes::Routes;
use crate::observe::metrics::{DeliveryEnd, Metrics};

impl Deliveries {
    /// Updates the metrics once the batch is committed.
    pub fn update_metrics(&self, routes: &Routes, metrics: &Metrics) {
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
