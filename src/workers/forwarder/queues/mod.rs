//! The queues: one for each endpoint that has due deliveries. They decide how many attempts may be
//! under way, and which delivery is next. Pure.
//!
//! Endpoints of the configuration are in one pool, and apps' own addresses in another. Each pool
//! has half of all attempts. So the operator's endpoints do not wait, even if apps name many
//! addresses that never answer.

mod pool;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::attempt::Ended;
use crate::domain::delivery::EndpointKey;
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::DueDelivery;
use crate::workers::breaker::{Change, Permit};
use pool::Pool;
pub use queue::PROBES;

/// The queues of all endpoints that have due deliveries.
pub struct Queues {
    standing: Pool,
    own: Pool,
}

/// A queue that has space for due deliveries from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueToLoad {
    pub endpoint: EndpointKey,
    /// Whether the queue needs a few from both ends: the longest overdue and the newest.
    pub is_recovering: bool,
}

impl Queues {
    /// `at_once` is the maximum number of attempts in all queues together. It must be at least two.
    pub fn new(at_once: usize) -> Self {
        Self {
            standing: Pool::new(at_once / 2),
            own: Pool::new(at_once / 2),
        }
    }

    /// Marks that `endpoint` has due deliveries. They are loaded as soon as one could be sent.
    pub fn mark(&mut self, endpoint: &EndpointKey) {
        self.pool(endpoint).mark(endpoint);
    }

    /// The queues to load now: those that may have due deliveries and could send one. Returns no
    /// more than could be sent, so that the cost of loading does not grow with the backlog.
    pub fn list_to_load(&mut self, now: Timestamp) -> Vec<QueueToLoad> {
        let mut wanting = self.standing.list_to_load(now);
        wanting.extend(self.own.list_to_load(now));
        wanting
    }

    /// Replaces the loaded deliveries of `endpoint` by `due`, the longest overdue first. If there
    /// are `limit` of them, the store may have more.
    pub fn fill(&mut self, endpoint: &EndpointKey, due: Vec<DueDelivery>, limit: usize) {
        self.pool(endpoint).fill(endpoint, due, limit);
    }

    /// The next delivery to send, with its permit.
    pub fn next(&mut self, now: Timestamp) -> Option<(DueDelivery, Permit)> {
        self.standing.next(now).or_else(|| self.own.next(now))
    }

    pub fn end(&mut self, ended: &Ended, now: Timestamp) -> Option<Change> {
        self.pool(&ended.endpoint).end(ended, now)
    }

    /// Removes the queues of endpoints that are not in `has_work`.
    pub fn retain(&mut self, has_work: &HashSet<EndpointKey>) {
        self.standing.retain(has_work);
        self.own.retain(has_work);
    }

    fn pool(&mut self, endpoint: &EndpointKey) -> &mut Pool {
        if endpoint.is_standing() {
            &mut self.standing
        } else {
            &mut self.own
        }
    }
}
