//! The lanes that share one half of all attempts. They take turns; those that are in doubt share a quarter of that, so that
//! whoever failed already waits for others that did, and nobody else does.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use super::lane::{Begun, Lane};
use crate::domain::delivery::EndpointKey;
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::DueDelivery;
use crate::workers::breaker::{Change, Leave};
use crate::workers::forwarder::attempt::Ended;

/// Attempts under way to one endpoint. At 5 ms each it still gets more than a thousand a second.
pub const AT_ONCE: usize = 8;

pub struct Side {
    all: BTreeMap<EndpointKey, Lane>,
    under_way: UnderWay,
    at_once: usize,
    /// Where the last attempt went, so that the next lane has its turn.
    turn: Option<EndpointKey>,
}

#[derive(Clone, Copy, Default)]
struct UnderWay {
    all: usize,
    in_doubt: usize,
}

impl Side {
    pub fn new(at_once: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            under_way: UnderWay::default(),
            at_once: at_once.max(1),
            turn: None,
        }
    }

    pub fn mark(&mut self, endpoint: &EndpointKey) {
        let lane = self.all.entry(endpoint.clone()).or_insert_with(Lane::new);
        lane.mark();
    }

    /// In their turn.
    pub fn wanting(&mut self, now: Timestamp) -> Vec<EndpointKey> {
        let (good, doubtful) = (self.room(false), self.room(true));
        let (mut of_good, mut of_doubtful) = (Vec::new(), Vec::new());
        self.find_in_turn(|endpoint, lane, limits| {
            let (wanting, room) = if lane.is_in_doubt() {
                (&mut of_doubtful, doubtful)
            } else {
                (&mut of_good, good)
            };
            if wanting.len() < room && lane.is_wanting(now, limits.of(lane)) {
                wanting.push(endpoint.clone());
            }
            None::<()>
        });
        of_good.append(&mut of_doubtful);
        of_good
    }

    pub fn fill(&mut self, endpoint: &EndpointKey, due: Vec<DueDelivery>, limit: usize) {
        if let Some(lane) = self.all.get_mut(endpoint) {
            lane.fill(due, limit);
        }
    }

    pub fn next(&mut self, now: Timestamp) -> Option<(DueDelivery, Leave)> {
        if self.room(false) == 0 {
            return None;
        }
        let try_lane = |endpoint: &EndpointKey, lane: &mut Lane, limits: Limits| {
            let begun = lane.begin(now, limits.of(lane))?;
            Some((endpoint.clone(), begun))
        };
        let (endpoint, begun) = self.find_in_turn(try_lane)?;
        let Begun {
            delivery,
            leave,
            in_doubt,
        } = begun;
        self.turn = Some(endpoint);
        self.under_way.all += 1;
        self.under_way.in_doubt += usize::from(in_doubt);
        Some((delivery, leave))
    }

    pub fn end(&mut self, ended: &Ended, now: Timestamp) -> Option<Change> {
        self.under_way.all -= 1;
        let lane = self.all.get_mut(&ended.endpoint)?;
        let (was_in_doubt, change) = lane.end(ended, now);
        self.under_way.in_doubt -= usize::from(was_in_doubt);
        change
    }

    pub fn retain(&mut self, has_work: &HashSet<EndpointKey>) {
        let is_kept =
            |endpoint: &EndpointKey, lane: &mut Lane| has_work.contains(endpoint) || lane.is_busy();
        self.all.retain(is_kept);
    }

    /// Attempts that may be begun, by lanes that are in doubt or by others.
    fn room(&self, in_doubt: bool) -> usize {
        let room = self.at_once.saturating_sub(self.under_way.all);
        if in_doubt {
            let doubtful = (self.at_once / 4).max(1);
            room.min(doubtful.saturating_sub(self.under_way.in_doubt))
        } else {
            room
        }
    }

    /// What `try_lane` makes of the first lane that it makes something of, from the one after the last turn on.
    fn find_in_turn<T>(
        &mut self,
        mut try_lane: impl FnMut(&EndpointKey, &mut Lane, Limits) -> Option<T>,
    ) -> Option<T> {
        let limits = self.limits();
        let before = |turn: &EndpointKey| (Bound::Unbounded, Bound::Included(turn.clone()));
        let (first, second) = match &self.turn {
            Some(turn) => (
                (Bound::Excluded(turn.clone()), Bound::Unbounded),
                Some(before(turn)),
            ),
            None => ((Bound::Unbounded, Bound::Unbounded), None),
        };
        for range in std::iter::once(first).chain(second) {
            for (endpoint, lane) in self.all.range_mut(range) {
                if let Some(found) = try_lane(endpoint, lane, limits) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Once half of all attempts are under way a lane gets one at a time: as many endpoints that never answer as that are
    /// needed to be in the way of the others.
    fn limits(&self) -> Limits {
        let good = self.under_way.all - self.under_way.in_doubt;
        Limits {
            good: if good < self.at_once.div_ceil(2) {
                AT_ONCE
            } else {
                1
            },
            doubtful: usize::from(self.room(true) > 0),
        }
    }
}

/// Attempts under way to one lane.
#[derive(Clone, Copy)]
struct Limits {
    good: usize,
    doubtful: usize,
}

impl Limits {
    fn of(self, lane: &Lane) -> usize {
        if lane.is_in_doubt() {
            self.doubtful
        } else {
            self.good
        }
    }
}
