//! One attempt: claim the delivery, send it, and record the outcome.

use std::time::Duration;

use reqwest::{RequestBuilder, Response};
use tokio::time::sleep;
use tracing::{debug, error, info, warn};

use super::Forwarder;
use super::answer::{self, EndpointOutcome};
use super::request::NoRequest;
use crate::domain::delivery::{AttemptEnd, DeliveryId, DeliveryState, EndpointKey, LEASE};
use crate::egress::NoAnswer;
use crate::store::StoreError;
use crate::store::deliveries::DueDelivery;
use crate::store::recorder::calls::{AttemptRecorded, Claim};
use crate::workers::breaker::Permit;

/// The timeout of one attempt, from connecting to the last byte of the answer.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The part of a lease that is reserved for recording the outcome.
const LEASE_GRACE: Duration = Duration::from_secs(5);

/// The pause before the recorder is tried again.
const RECORD_AGAIN: Duration = Duration::from_secs(1);

/// An attempt that is over.
pub struct Ended {
    pub id: DeliveryId,
    pub endpoint: EndpointKey,
    pub permit: Permit,
    /// `None` if the attempt says nothing about the endpoint.
    pub outcome: Option<EndpointOutcome>,
}

impl Forwarder {
    pub(super) async fn attempt(&self, due: DueDelivery, permit: Permit) -> Ended {
        let outcome = if self.secure_lease(&due).await {
            self.send(&due).await
        } else {
            None
        };
        Ended {
            id: due.id,
            endpoint: due.endpoint,
            permit,
            outcome,
        }
    }

    /// Extends our lease to cover one attempt. Returns false if another process holds the delivery.
    /// New deliveries carry the lease of the process that recorded them, so it need not claim them.
    async fn secure_lease(&self, due: &DueDelivery) -> bool {
        let needed = self.dependencies.clock.now().after(TIMEOUT + LEASE_GRACE);
        if due.held_until.is_some_and(|until| until >= needed) {
            return true;
        }
        let (id, holder) = (due.id, self.dependencies.holder.clone());
        match self
            .dependencies
            .recorder
            .claim_delivery(id, holder, LEASE)
            .await
        {
            Ok(Claim::Ours) => true,
            Ok(Claim::NotDue) => false,
            Err(error) => {
                error!(error = %error, delivery.id = %due.id, "could not claim a delivery; trying again");
                // Without the store, the outcome of an attempt could not be recorded.
                self.rest().await;
                false
            }
        }
    }

    async fn send(&self, due: &DueDelivery) -> Option<EndpointOutcome> {
        let (end, outcome, response) = match self.request(due).await {
            Ok(request) => {
                let (end, response) = self.call(request).await;
                let outcome = answer::outcome(&end, due.endpoint.is_standing());
                (end, outcome, response)
            }
            Err(NoRequest::End(end, outcome)) => (end, outcome, None),
            Err(NoRequest::Store(error)) => {
                error!(error = %error, delivery.id = %due.id, "could not read what is to be delivered");
                self.rest().await;
                return None;
            }
        };
        self.report(due, &end);
        // The head of the answer decides. If an endless body follows, the delivery still counts.
        let rest = async {
            if let Some(response) = response {
                answer::read_rest(response).await;
            }
        };
        tokio::join!(self.record_end(due, end), rest);
        outcome
    }

    /// Waits a little after the store failed.
    async fn rest(&self) {
        let resting = sleep(RECORD_AGAIN);
        self.dependencies.stop.run_until_cancelled(resting).await;
    }

    async fn call(&self, request: RequestBuilder) -> (AttemptEnd, Option<Response>) {
        let sending = request.timeout(TIMEOUT).send();
        // Dates in the answer come from other clocks, so compare them with the system's clock.
        let now = || self.dependencies.clock.wall_now();
        match self
            .dependencies
            .giving_up
            .run_until_cancelled(sending)
            .await
        {
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

    fn report(&self, due: &DueDelivery, end: &AttemptEnd) {
        let (id, endpoint, attempt) = (due.id, &due.endpoint, due.attempts + 1);
        match end {
            AttemptEnd::Delivered { .. } => {
                debug!(delivery.id = %id, endpoint = %endpoint, delivery.attempt = attempt, "delivered");
                if due.attempts == 0 {
                    let took = self.dependencies.clock.now().since(due.due_at);
                    self.dependencies.metrics.delivered_after(took);
                }
            }
            AttemptEnd::Failed { reason, .. } => {
                info!(delivery.id = %id, endpoint = %endpoint, delivery.attempt = attempt, reason, "a delivery failed");
            }
            AttemptEnd::Refused { reason } => {
                warn!(delivery.id = %id, endpoint = %endpoint, reason, "a delivery was not sent");
            }
            AttemptEnd::GivenBack => {}
        }
    }

    /// Tries until the outcome is recorded or the process abandons it. Otherwise a process that
    /// cannot record anything would send the same delivery again and again.
    async fn record_end(&self, due: &DueDelivery, end: AttemptEnd) {
        let (attempt, jitter) = (due.attempts + 1, fastrand::f64());
        let mut is_logged = false;
        loop {
            let (recorder, holder) = (
                &self.dependencies.recorder,
                self.dependencies.holder.clone(),
            );
            let ending = recorder.end_attempt(due.id, holder, attempt, end.clone(), jitter);
            match ending.await {
                Ok(AttemptRecorded::Now(DeliveryState::Dead)) => {
                    warn!(delivery.id = %due.id, endpoint = %due.endpoint, "a delivery is dead: it is sent again only if an operator retries it");
                    return;
                }
                Ok(AttemptRecorded::Now(_) | AttemptRecorded::Stale) | Err(StoreError::Stopped) => {
                    return;
                }
                Err(error) if !is_logged => {
                    is_logged = true;
                    error!(error = %error, delivery.id = %due.id, "could not record how an attempt ended; trying again each second");
                }
                Err(_) => {}
            }
            let giving_up = &self.dependencies.giving_up;
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
