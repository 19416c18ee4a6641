//! A lane for each endpoint that something is to be sent to: how much of it may be under way, and what is next. Pure.
//!
//! Endpoints of the configuration are on one side and apps' own addresses on the other, and each side has half of all
//! attempts: however many addresses apps name that never answer, the operator's endpoints do not wait for them.

mod lane;
mod side;
#[cfg(test)]
mod tests;

use std::collections::HashSet;

use super::attempt::Ended;
use crate::domain::delivery::EndpointKey;
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::DueDelivery;
use crate::workers::breaker::{Change, Leave};
use side::Side;

/// All endpoints that something is to be sent to.
pub struct Lanes {
    standing: Side,
    own: Side,
}

impl Lanes {
    /// `at_once`: attempts under way, all lanes together; two at least.
    pub fn new(at_once: usize) -> Self {
        Self {
            standing: Side::new(at_once / 2),
            own: Side::new(at_once / 2),
        }
    }

    /// Something is due for `endpoint`: it is to be looked for as soon as it could be begun.
    pub fn mark(&mut self, endpoint: &EndpointKey) {
        self.side(endpoint).mark(endpoint);
    }

    /// Those to look for now: there may be something for them, and it could be begun. No more than there is room for, so
    /// that what a look costs does not grow with what is waiting.
    pub fn wanting(&mut self, now: Timestamp) -> Vec<EndpointKey> {
        let mut wanting = self.standing.wanting(now);
        wanting.extend(self.own.wanting(now));
        wanting
    }

    /// What was found for `endpoint`, at most `limit` of it, takes the place of what was found before.
    pub fn fill(&mut self, endpoint: &EndpointKey, due: Vec<DueDelivery>, limit: usize) {
        self.side(endpoint).fill(endpoint, due, limit);
    }

    /// The next delivery that is to be begun, and with what leave.
    pub fn next(&mut self, now: Timestamp) -> Option<(DueDelivery, Leave)> {
        self.standing.next(now).or_else(|| self.own.next(now))
    }

    pub fn end(&mut self, ended: &Ended, now: Timestamp) -> Option<Change> {
        self.side(&ended.endpoint).end(ended, now)
    }

    /// Forgets those for which nothing is pending.
    pub fn retain(&mut self, has_work: &HashSet<EndpointKey>) {
        self.standing.retain(has_work);
        self.own.retain(has_work);
    }

    fn side(&mut self, endpoint: &EndpointKey) -> &mut Side {
        if endpoint.is_standing() {
            &mut self.standing
        } else {
            &mut self.own
        }
    }
}
