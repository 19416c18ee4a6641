//! Deliveries: who sends, what became of an attempt, and sending again because an operator wants it.

use std::time::Duration;

use crate::domain::delivery::{AttemptEnd, DeliveryId, DeliveryState, EndpointKey, Holder};
use crate::store::deliveries::{Change, RETRIED_AT_ONCE_MAX};
use crate::store::entry::Receipt;
use crate::store::ledger::Ledger;

impl Ledger {
    pub(super) fn claim_delivery(
        &mut self,
        id: DeliveryId,
        holder: &Holder,
        lease: Duration,
    ) -> Receipt {
        let (now, deliveries) = (self.now, &mut self.deliveries);
        let shared = deliveries.shared;
        let Some(delivery) = deliveries.known.get_mut(&id) else {
            return Receipt::NotDue;
        };
        if !delivery.claim(holder, lease, now, shared) {
            return Receipt::NotDue;
        }
        deliveries.claimed.insert(id);
        Receipt::Done
    }

    pub(super) fn end_delivery(
        &mut self,
        id: DeliveryId,
        holder: &Holder,
        attempt: u32,
        end: &AttemptEnd,
        jitter: f64,
    ) -> Receipt {
        let (now, deliveries) = (self.now, &mut self.deliveries);
        let Some(delivery) = deliveries.known.get_mut(&id) else {
            return Receipt::Stale;
        };
        // It may have been enabled since its sender looked.
        if *end == AttemptEnd::Disabled && !deliveries.disabled.contains(&delivery.endpoint) {
            return Receipt::Stale;
        }
        let was_dead = delivery.state == DeliveryState::Dead;
        let Some(state) = delivery.end(holder, attempt, end, jitter, now) else {
            return Receipt::Stale;
        };
        let endpoint = delivery.endpoint.clone();
        deliveries.changed.insert(id);
        if matches!(end, AttemptEnd::Gone { .. }) && endpoint.is_standing() {
            deliveries.disable(
                &endpoint,
                "it answered 410: nothing is wanted there any more",
            );
        }
        let change = match state {
            // There was no attempt, and its delivery is as it was.
            _ if *end == AttemptEnd::GivenBack => return Receipt::Delivery(state),
            DeliveryState::Pending => Change::Failed,
            DeliveryState::Delivered => Change::Delivered { was_dead },
            DeliveryState::Dead => Change::Dead,
        };
        deliveries.counted.push((endpoint, change));
        Receipt::Delivery(state)
    }

    pub(super) fn retry_delivery(&mut self, id: DeliveryId) -> Receipt {
        let (now, deliveries) = (self.now, &mut self.deliveries);
        let Some(delivery) = deliveries.known.get_mut(&id) else {
            return Receipt::Gone;
        };
        let was_dead = delivery.state == DeliveryState::Dead;
        if !delivery.retry(now) {
            return Receipt::Delivered;
        }
        let endpoint = delivery.endpoint.clone();
        deliveries.changed.insert(id);
        deliveries.enable(&endpoint);
        if was_dead {
            deliveries.counted.push((endpoint, Change::Revived));
        }
        Receipt::Done
    }

    /// Of those that were loaded for it. Another entry of the batch may have had some of them before.
    pub(super) fn retry_deliveries(
        &mut self,
        endpoint: Option<&EndpointKey>,
        limit: u32,
    ) -> Receipt {
        let known = self.deliveries.known.values();
        let mut dead = known
            .filter(|delivery| delivery.state == DeliveryState::Dead)
            .filter(|delivery| endpoint.is_none_or(|wanted| delivery.endpoint == *wanted))
            .map(|delivery| delivery.id);
        let limit = limit.min(RETRIED_AT_ONCE_MAX);
        let wanted: Vec<DeliveryId> = dead.by_ref().take(limit as usize).collect();
        let more = dead.next().is_some();
        for id in &wanted {
            self.retry_delivery(*id);
        }
        if let Some(endpoint) = endpoint {
            self.deliveries.enable(endpoint);
        }
        Receipt::Retried {
            deliveries: u32::try_from(wanted.len()).unwrap_or(limit),
            more,
        }
    }
}
