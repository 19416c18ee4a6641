//! A queue for each endpoint that has something due: how much of it may be under way, and what is
//! next. Pure.
//!
//! Endpoints of the configuration are in one pool and apps' own addresses in another, and each pool
//! has half of all attempts. However many addresses apps name that never answer, the operator's
//! endpoints do not wait for them.

mod pool;
mod queue;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::attempt::Ended;
use crate::domain::delivery::EndpointKey;
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::DueDelivery;
use crate::workers::breaker::{Change, Leave};
use pool::Pool;
pub use queue::PROBES;

/// All endpoints that have something due.
pub struct Queues {
    standing: Pool,
    own: Pool,
}

/// A queue that has room for due deliveries from the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanting {
    pub endpoint: EndpointKey,
    /// It wants a few from both ends: the longest overdue and the newest.
    pub is_doubtful: bool,
}

impl Queues {
    /// `at_once`: attempts under way in all queues together, at least two.
    pub fn new(at_once: usize) -> Self {
        Self {
            standing: Pool::new(at_once / 2),
            own: Pool::new(at_once / 2),
        }
    }

    /// Notes that something is due for `endpoint`. It is loaded as soon as it could be sent.
    pub fn mark(&mut self, endpoint: &EndpointKey) {
        self.pool(endpoint).mark(endpoint);
    }

    /// The queues to load now: those that may have something due and could send it. No more than
    /// could be sent, so that the cost of loading does not grow with the backlog.
    pub fn wanting(&mut self, now: Timestamp) -> Vec<Wanting> {
        let mut wanting = self.standing.wanting(now);
        wanting.extend(self.own.wanting(now));
        wanting
    }

    /// Replaces what was loaded for `endpoint` before by `due`, the longest overdue first. `limit`:
    /// if there are that many, there may be more.
    pub fn fill(&mut self, endpoint: &EndpointKey, due: Vec<DueDelivery>, limit: usize) {
        self.pool(endpoint).fill(endpoint, due, limit);
    }

    /// The next delivery to be sent, with its permit.
    pub fn next(&mut self, now: Timestamp) -> Option<(DueDelivery, Leave)> {
        self.standing.next(now).or_else(|| self.own.next(now))
    }

    pub fn end(&mut self, ended: &Ended, now: Timestamp) -> Option<Change> {
        self.pool(&ended.endpoint).end(ended, now)
    }

    /// Forgets the queues of endpoints that are not in `has_work`.
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
