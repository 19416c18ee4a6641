//! Applies the entries about deliveries: claims, results of attempts, the endpoint's responses, and
//! retries that operators request.

use std::time::Duration;

use crate::domain::delivery::{AttemptEnd, DeliveryId, DeliveryState, EndpointKey, Holder};
use crate::store::deliveries::{Change, FailedAttempt, RETRIED_AT_ONCE_MAX};
use crate::store::recorder::entry::Receipt;
use crate::store::recorder::ledger::Ledger;

impl Ledger {
    pub fn claim_delivery(&mut self, id: DeliveryId, holder: &Holder, lease: Duration) -> Receipt {
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

    pub fn end_delivery(
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
        let was_dead = delivery.state == DeliveryState::Dead;
        let Some(state) = delivery.end(holder, attempt, end, jitter, now) else {
            return Receipt::Stale;
        };
        let endpoint = delivery.endpoint.clone();
        deliveries.changed.insert(id);
        if let AttemptEnd::Failed { status, reason, .. } = end {
            deliveries.failed.push(FailedAttempt {
                delivery: id,
                number: attempt,
                at: now,
                status: *status,
                error: reason.clone(),
            });
        }
        if end.says_gone() {
            deliveries.endpoint_said_gone(&endpoint, id, now);
        } else if matches!(end, AttemptEnd::Delivered { .. }) {
            deliveries.enable(&endpoint);
        }
        let change = match state {
            // The lease was returned without an attempt, so there is nothing to count.
            _ if *end == AttemptEnd::GivenBack => return Receipt::Delivery(state),
            DeliveryState::Pending => Change::Failed,
            DeliveryState::Delivered => Change::Delivered { was_dead },
            DeliveryState::Dead => Change::Dead,
        };
        deliveries.counted.push((endpoint, change));
        Receipt::Delivery(state)
    }

    pub fn retry_delivery(&mut self, id: DeliveryId) -> Receipt {
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

    pub fn expire_held(&mut self, endpoint: &EndpointKey) -> Receipt {
        let (now, deliveries) = (self.now, &mut self.deliveries);
        // An operator may have enabled the endpoint since the worker read it.
        if !deliveries.disabled.contains(endpoint) {
            return Receipt::Stale;
        }
        let known = deliveries.known.values_mut();
        for delivery in known.filter(|delivery| delivery.endpoint == *endpoint) {
            if delivery.expire(now) {
                deliveries.changed.insert(delivery.id);
                deliveries.counted.push((endpoint.clone(), Change::Dead));
            }
        }
        Receipt::Done
    }

    /// Retries the dead deliveries that were loaded for this entry. Another entry of the batch may
    /// have retried some of them already.
    pub fn retry_deliveries(&mut self, endpoint: Option<&EndpointKey>, limit: u32) -> Receipt {
        let disabled = &self.deliveries.disabled;
        let enabled = endpoint.is_some_and(|endpoint| disabled.contains(endpoint));
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
            enabled,
            more,
        }
    }
}
