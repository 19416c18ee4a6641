//! The scan for due work: finds the endpoints that have due deliveries, then loads these. If
//! nothing is pending, it costs one query.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};
use tracing::{error, info, warn};

use super::Forwarder;
use super::queues::{PROBES, QueueToLoad, Queues};
use crate::domain::delivery::{EndpointKey, HELD_MAX, schedule};
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::deliveries::{DueDelivery, EndpointWork};
use crate::store::wake::POLL_INTERVAL;

/// The number of endpoints that one query returns.
const ENDPOINTS: u32 = 256;

/// The number of deliveries that one query returns for one endpoint. These include those under way.
const DELIVERIES: usize = 64;

/// The number of queries at the same time.
const QUERIES: usize = 4;

impl Forwarder {
    /// Finds the endpoints that have due deliveries. Returns how soon the next delivery is due, at
    /// most `POLL_INTERVAL`.
    pub(super) async fn try_scan(&self, queues: &mut Queues) -> Result<Duration, StoreError> {
        let now = self.dependencies.clock.now();
        let all = self.list_work().await?;
        let is_due = |work: &EndpointWork| {
            schedule::is_due(work.first_due, now) || schedule::is_due(work.last_due, now)
        };
        if all.iter().any(is_due) {
            // Another replica may have disabled or enabled an endpoint.
            self.load_disabled().await?;
        }
        let disabled = self.disabled().clone();
        let (mut has_work, mut next) = (HashSet::new(), POLL_INTERVAL);
        for work in &all {
            if disabled.contains(&work.endpoint) {
                if now.since(work.first_due) >= HELD_MAX {
                    self.expire_held(&work.endpoint).await;
                }
                continue;
            }
            if is_due(work) {
                queues.mark(&work.endpoint);
            } else {
                next = next.min(work.first_due.since(now));
            }
            has_work.insert(work.endpoint.clone());
        }
        queues.retain(&has_work);
        Ok(next)
    }

    /// Lists all endpoints that have pending deliveries.
    async fn list_work(&self) -> Result<Vec<EndpointWork>, StoreError> {
        let mut all: Vec<EndpointWork> = Vec::new();
        loop {
            let after = all.last().map(|work| &work.endpoint);
            let page = self
                .dependencies
                .store
                .list_endpoints_with_work(after, ENDPOINTS);
            let page = page.await?;
            let is_last = page.len() < ENDPOINTS as usize;
            all.extend(page);
            if is_last {
                return Ok(all);
            }
        }
    }

    /// Loads due deliveries for the queues that have space. Returns `false` if no queue has, or if
    /// the store could not be read.
    pub(super) async fn fill_queues(&self, queues: &mut Queues) -> bool {
        let now = self.dependencies.clock.now();
        let wanting = queues.list_to_load(now);
        if wanting.is_empty() {
            return false;
        }
        let filling = self.fill(queues, wanting, now);
        match self.dependencies.stop.run_until_cancelled(filling).await {
            Some(Ok(())) => true,
            // The next scan finds these deliveries again.
            Some(Err(error)) => {
                error!(error = %error, "could not load due deliveries; scanning again");
                false
            }
            None => false,
        }
    }

    async fn fill(
        &self,
        queues: &mut Queues,
        wanting: Vec<QueueToLoad>,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let queries = wanting.into_iter().map(|wanting| async move {
            let due = self.list_due(&wanting, now).await;
            (wanting, due)
        });
        let mut found = stream::iter(queries).buffer_unordered(QUERIES);
        while let Some((wanting, due)) = found.next().await {
            let limit = if wanting.is_recovering {
                PROBES
            } else {
                DELIVERIES
            };
            queues.fill(&wanting.endpoint, due?, limit);
        }
        Ok(())
    }

    /// Lists due deliveries, the longest overdue first. Returns none for an endpoint that was
    /// disabled since the scan.
    async fn list_due(
        &self,
        wanting: &QueueToLoad,
        now: Timestamp,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let endpoint = &wanting.endpoint;
        if self.disabled().contains(endpoint) {
            return Ok(Vec::new());
        }
        let (store, holder) = (&self.dependencies.store, &self.dependencies.holder);
        let limit = |count: usize| u32::try_from(count).unwrap_or(u32::MAX);
        if !wanting.is_recovering {
            return store
                .list_due_deliveries(endpoint, now, holder, limit(DELIVERIES))
                .await;
        }
        let oldest = store.list_due_deliveries(endpoint, now, holder, limit(PROBES));
        let mut due = oldest.await?;
        let newest = store.list_newest_due_deliveries(endpoint, now, holder, limit(DELIVERIES));
        let known: HashSet<_> = due.iter().map(|one| one.id).collect();
        let mut newest = newest.await?;
        newest.retain(|one| !known.contains(&one.id));
        // A retry that has just become due is not a new delivery.
        newest.sort_by_key(|one| one.attempts);
        newest.truncate(PROBES);
        due.extend(newest.into_iter().rev());
        Ok(due)
    }

    async fn load_disabled(&self) -> Result<(), StoreError> {
        let disabled = self.dependencies.store.list_disabled_endpoints().await?;
        let disabled: HashSet<EndpointKey> = disabled.into_iter().map(|one| one.name).collect();
        let mut known = self.disabled();
        for name in disabled.difference(&known) {
            warn!(endpoint = %name, "endpoint {name} is disabled: its pending deliveries are held until an operator retries one");
        }
        for name in known.difference(&disabled) {
            info!(endpoint = %name, "endpoint {name} is enabled: its held deliveries are sent");
        }
        *known = disabled;
        drop(known);
        Ok(())
    }

    async fn expire_held(&self, endpoint: &EndpointKey) {
        if let Err(error) = self
            .dependencies
            .recorder
            .expire_held(endpoint.clone())
            .await
        {
            error!(error = %error, endpoint = %endpoint, "could not end held deliveries; trying again");
        }
    }
}
