//! One attempt: taken, sent, recorded.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::request::NoRequest;
use super::{Forwarder, answer};
use crate::domain::delivery::{AttemptEnd, DeliveryId, DeliveryState, EndpointKey, LEASE};
use crate::egress::NoAnswer;
use crate::store::StoreError;
use crate::store::deliveries::DueDelivery;
use crate::store::entry::{Entry, Receipt};
use crate::workers::breaker::{Heard, Leave};

/// From connecting to the head of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// What of a lease is kept for recording how the attempt ended.
const LEASE_GRACE: Duration = Duration::from_secs(5);

/// Between two tries to record something.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// An attempt that is over.
pub struct Ended {
    pub id: DeliveryId,
    pub endpoint: EndpointKey,
    pub leave: Leave,
    /// `None`: nothing was sent.
    pub heard: Option<Heard>,
}

impl Forwarder {
    pub(super) async fn attempt(&self, due: DueDelivery, leave: Leave) -> Ended {
        let heard = if self.is_ours(&due).await {
            self.send(&due).await
        } else {
            None
        };
        Ended {
            id: due.id,
            endpoint: due.endpoint,
            leave,
            heard,
        }
    }

    /// Whether nobody else sends it for as long as an attempt takes. What was made by this process is born so, and what
    /// another has taken in the meantime is not.
    async fn is_ours(&self, due: &DueDelivery) -> bool {
        let needed = self.parts.clock.now().after(TIMEOUT + LEASE_GRACE);
        if due.held_until.is_some_and(|until| until >= needed) {
            return true;
        }
        let claim = Entry::DeliveryClaimed {
            id: due.id,
            holder: self.parts.holder.clone(),
            lease: LEASE,
        };
        match self.parts.recorder.record(claim).await {
            Ok(receipt) => receipt == Receipt::Done,
            Err(error) => {
                error!(error = %error, delivery.id = %due.id, "could not take a delivery");
                // Nobody is called while nothing can be recorded.
                self.rest().await;
                false
            }
        }
    }

    async fn send(&self, due: &DueDelivery) -> Option<Heard> {
        let (end, response) = match self.request(due).await {
            Ok(request) => self.call(request).await,
            Err(NoRequest::End(end)) => (end, None),
            Err(NoRequest::Store(error)) => {
                error!(error = %error, delivery.id = %due.id, "could not read what is to be delivered");
                self.rest().await;
                return None;
            }
        };
        self.tell(due, &end);
        let heard = answer::heard(&end);
        // The head decides: whoever sends on for ever has been delivered to all the same.
        let rest = async {
            if let Some(response) = response {
                answer::read_rest(response).await;
            }
        };
        tokio::join!(self.record_end(due, end), rest);
        heard
    }

    /// After the store failed.
    async fn rest(&self) {
        let resting = sleep(RECORD_AGAIN);
        self.parts.stop.run_until_cancelled(resting).await;
    }

    async fn call(&self, request: RequestBuilder) -> (AttemptEnd, Option<Response>) {
        let sending = request.timeout(TIMEOUT).send();
        let now = || self.parts.clock.now();
        match self.parts.giving_up.run_until_cancelled(sending).await {
            None => (AttemptEnd::GivenBack, None),
            Some(Ok(response)) => {
                let end = answer::end(response.status(), response.headers(), now());
                (end, Some(response))
            }
            Some(Err(error)) => {
                let end = AttemptEnd::Failed {
                    status: None,
                    reason: NoAnswer::from(error).to_string(),
                    retry_after: None,
                };
                (end, None)
            }
        }
    }

    fn tell(&self, due: &DueDelivery, end: &AttemptEnd) {
        let (id, endpoint, attempt) = (due.id, &due.endpoint, due.attempts + 1);
        match end {
            AttemptEnd::Delivered { .. } => {
                debug!(delivery.id = %id, endpoint = %endpoint, delivery.attempt = attempt, "delivered");
                if due.attempts == 0 {
                    let took = self.parts.clock.now().since(due.due_at);
                    self.parts.metrics.delivered_after(took);
                }
            }
            AttemptEnd::Failed { reason, .. } => {
                info!(delivery.id = %id, endpoint = %endpoint, delivery.attempt = attempt, reason, "a delivery failed");
            }
            AttemptEnd::Gone { .. } => {
                warn!(delivery.id = %id, endpoint = %endpoint, "an endpoint answered 410: it wants nothing any more");
                if endpoint.is_standing() {
                    self.disabled().insert(endpoint.clone());
                }
            }
            AttemptEnd::Refused { reason } => {
                warn!(delivery.id = %id, endpoint = %endpoint, reason, "a delivery was not sent");
            }
            AttemptEnd::Disabled | AttemptEnd::GivenBack => {}
        }
    }

    /// Tries until it is recorded, or nobody waits any more: else the delivery would be sent again at once, again and again,
    /// by a process that can remember nothing.
    async fn record_end(&self, due: &DueDelivery, end: AttemptEnd) {
        let was_disabled = end == AttemptEnd::Disabled;
        let entry = Entry::DeliveryEnded {
            id: due.id,
            holder: self.parts.holder.clone(),
            attempt: due.attempts + 1,
            end,
            jitter: fastrand::f64(),
        };
        let mut is_told = false;
        loop {
            match self.parts.recorder.record(entry.clone()).await {
                Ok(receipt) => {
                    // Of a disabled endpoint it was told.
                    if receipt == Receipt::Delivery(DeliveryState::Dead) && !was_disabled {
                        warn!(delivery.id = %due.id, endpoint = %due.endpoint, "a delivery is dead: it is not sent again unless an operator wants it");
                    }
                    if was_disabled && receipt == Receipt::Stale {
                        self.disabled().remove(&due.endpoint);
                    }
                    return;
                }
                Err(StoreError::Stopped) => return,
                Err(error) if !is_told => {
                    is_told = true;
                    error!(error = %error, delivery.id = %due.id, "could not record what became of a delivery: tried again until it is");
                }
                Err(_) => {}
            }
            let giving_up = &self.parts.giving_up;
            if giving_up
                .run_until_cancelled(sleep(RECORD_AGAIN))
                .await
                .is_none()
            {
                return;
            }
        }
    }
}
