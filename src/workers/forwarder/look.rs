//! The look for what there is to send: for which endpoints something is due, then what. Where nothing is pending it is two
//! questions.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tracing::{error, warn};

use super::Forwarder;
use super::lanes::Lanes;
use crate::domain::delivery::{EndpointKey, schedule};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::deliveries::{DisabledEndpoint, DueDelivery};
use crate::store::wake::LOOK_INTERVAL;

/// Endpoints of one question.
const ENDPOINTS: u32 = 256;

/// Deliveries that are looked for at once, for one endpoint; those under way are among them.
const DELIVERIES: usize = 64;

/// Questions at once.
const QUESTIONS: usize = 4;

impl Forwarder {
    /// Finds for which lanes something is due. Gives how soon the next delivery is, at most `LOOK_INTERVAL`.
    pub(super) async fn try_look(&self, lanes: &mut Lanes) -> Result<Duration, StoreError> {
        let now = self.parts.clock.now();
        let (mut has_work, mut due, mut next) = (HashSet::new(), Vec::new(), LOOK_INTERVAL);
        let mut after = None;
        loop {
            let store = &self.parts.store;
            let page = store.list_endpoints_with_work(after.as_ref(), ENDPOINTS);
            let page = page.await?;
            let is_last = page.len() < ENDPOINTS as usize;
            for work in page {
                let is_due = |at| schedule::is_due(at, now);
                if is_due(work.first_due) || is_due(work.last_due) {
                    due.push(work.endpoint.clone());
                } else {
                    next = next.min(work.first_due.since(now));
                }
                after = Some(work.endpoint.clone());
                has_work.insert(work.endpoint);
            }
            if is_last {
                break;
            }
        }
        lanes.retain(&has_work);
        for endpoint in &due {
            lanes.mark(endpoint);
        }
        if !due.is_empty() {
            // The recorder knows better.
            self.look_for_disabled().await?;
        }
        Ok(next)
    }

    /// Looks for what lanes have room for. `false` if there is nothing to look for, or no way to.
    pub(super) async fn fill_lanes(&self, lanes: &mut Lanes) -> bool {
        let now = self.parts.clock.now();
        let wanting = lanes.wanting(now);
        if wanting.is_empty() {
            return false;
        }
        let filling = self.fill(lanes, wanting, now);
        match self.parts.stop.run_until_cancelled(filling).await {
            Some(Ok(())) => true,
            // The next look finds them.
            Some(Err(error)) => {
                error!(error = %error, "the forwarder could not look for more deliveries");
                false
            }
            None => false,
        }
    }

    async fn fill(
        &self,
        lanes: &mut Lanes,
        endpoints: Vec<EndpointKey>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let looks = endpoints.into_iter().map(|endpoint| async move {
            let due = self.list_due(&endpoint, now).await;
            (endpoint, due)
        });
        let mut found = stream::iter(looks).buffer_unordered(QUESTIONS);
        while let Some((endpoint, due)) = found.next().await {
            lanes.fill(&endpoint, due?, DELIVERIES);
        }
        Ok(())
    }

    async fn list_due(
        &self,
        endpoint: &EndpointKey,
        now: Timestamp,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let (store, holder) = (&self.parts.store, &self.parts.holder);
        let limit = u32::try_from(DELIVERIES).unwrap_or(u32::MAX);
        store
            .list_due_deliveries(endpoint, now, holder, limit)
            .await
    }

    async fn look_for_disabled(&self) -> Result<(), StoreError> {
        let disabled = self.parts.store.list_disabled_endpoints().await?;
        let mut known = self.disabled();
        for DisabledEndpoint { name, reason, .. } in &disabled {
            if !known.contains(name) {
                warn!(endpoint = %name, reason, "endpoint {name} is disabled: what it is owed dies unsent until an operator has something sent to it again");
            }
        }
        *known = disabled.into_iter().map(|endpoint| endpoint.name).collect();
        Ok(())
    }
}
