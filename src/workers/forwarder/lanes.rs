//! A lane for each endpoint that something is to be sent to: how much of it may be under way, and what is next. Pure.

use std::collections::{BTreeMap, HashSet, VecDeque};
use std::ops::Bound;
use std::time::Duration;

use super::attempt::Ended;
use crate::domain::delivery::{DeliveryId, EndpointKey};
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::DueDelivery;
use crate::workers::breaker::{Breaker, Change, Leave, Pauses};

/// Attempts under way to one endpoint. At 5 ms each it still gets more than a thousand a second.
const AT_ONCE: usize = 8;

/// Between attempts that go to see whether an endpoint takes deliveries again.
const PAUSES: Pauses = Pauses {
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
};

/// All endpoints that something is to be sent to.
pub struct Lanes {
    all: BTreeMap<EndpointKey, Lane>,
    under_way: usize,
    at_once: usize,
    /// Where the last attempt went, so that the next lane has its turn.
    turn: Option<EndpointKey>,
}

struct Lane {
    under_way: HashSet<DeliveryId>,
    breaker: Breaker<DeliveryId>,
    /// The longest overdue first.
    found: VecDeque<DueDelivery>,
    /// There may be more to be found.
    more: bool,
}

impl Lanes {
    /// `at_once`: attempts under way, all lanes together.
    pub fn new(at_once: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            under_way: 0,
            at_once,
            turn: None,
        }
    }

    /// Whether something that is due for `endpoint` could be begun now. If not, it is looked for as soon as it could.
    pub fn has_room(&mut self, endpoint: &EndpointKey, now: Timestamp) -> bool {
        let at_once = self.at_once_each();
        let lane = self.all.entry(endpoint.clone()).or_insert_with(Lane::new);
        lane.more = true;
        lane.may_begin(now, at_once)
    }

    /// What was found for `endpoint`, at most `limit` of it, takes the place of what was found before.
    pub fn fill(&mut self, endpoint: &EndpointKey, due: Vec<DueDelivery>, limit: usize) {
        let Some(lane) = self.all.get_mut(endpoint) else {
            return;
        };
        lane.more = due.len() >= limit;
        let is_new = |one: &DueDelivery| !lane.under_way.contains(&one.id);
        lane.found = due.into_iter().filter(is_new).collect();
    }

    /// The next delivery that is to be begun, and with what leave. Lanes take turns.
    pub fn next(&mut self, now: Timestamp) -> Option<(DueDelivery, Leave)> {
        if self.under_way >= self.at_once {
            return None;
        }
        let at_once = self.at_once_each();
        let after = match &self.turn {
            Some(turn) => (Bound::Excluded(turn.clone()), Bound::Unbounded),
            None => (Bound::Unbounded, Bound::Unbounded),
        };
        let try_lane = |(endpoint, lane): (&EndpointKey, &mut Lane)| {
            Some((endpoint.clone(), lane.begin(now, at_once)?))
        };
        let first = self.all.range_mut(after).find_map(try_lane);
        let (endpoint, begun) = first.or_else(|| self.all.iter_mut().find_map(try_lane))?;
        self.turn = Some(endpoint);
        self.under_way += 1;
        Some(begun)
    }

    pub fn end(&mut self, ended: &Ended, now: Timestamp) -> Option<Change> {
        self.under_way -= 1;
        let lane = self.all.get_mut(&ended.endpoint)?;
        lane.under_way.remove(&ended.id);
        match ended.heard {
            Some(heard) => lane.breaker.hear(heard, ended.id, ended.leave, now),
            None => {
                lane.breaker.give_back(ended.leave);
                None
            }
        }
    }

    /// Those that have used up what was found for them, though there may be more.
    pub fn used_up(&mut self, now: Timestamp) -> Vec<EndpointKey> {
        let at_once = self.at_once_each();
        let empty = self.all.iter_mut().filter_map(|(endpoint, lane)| {
            let is_empty = lane.more && lane.found.is_empty();
            (is_empty && lane.may_begin(now, at_once)).then(|| endpoint.clone())
        });
        empty.collect()
    }

    /// Forgets those for which nothing is pending.
    pub fn retain(&mut self, has_work: &HashSet<EndpointKey>) {
        let is_kept = |endpoint: &EndpointKey, lane: &mut Lane| {
            has_work.contains(endpoint) || !lane.under_way.is_empty()
        };
        self.all.retain(is_kept);
    }

    /// Once half of all attempts are under way a lane gets one at a time: as many endpoints that never answer as that are
    /// needed to be in the way of the others.
    const fn at_once_each(&self) -> usize {
        if self.under_way < self.at_once / 2 {
            AT_ONCE
        } else {
            1
        }
    }
}

impl Lane {
    fn new() -> Self {
        Self {
            under_way: HashSet::new(),
            breaker: Breaker::new(PAUSES),
            found: VecDeque::new(),
            more: false,
        }
    }

    fn begin(&mut self, now: Timestamp, at_once: usize) -> Option<(DueDelivery, Leave)> {
        if self.found.is_empty() {
            return None;
        }
        let leave = self.leave(now, at_once);
        if leave == Leave::Wait {
            return None;
        }
        let delivery = self.found.pop_front()?;
        self.under_way.insert(delivery.id);
        Some((delivery, leave))
    }

    fn may_begin(&mut self, now: Timestamp, at_once: usize) -> bool {
        let leave = self.leave(now, at_once);
        self.breaker.give_back(leave);
        leave != Leave::Wait
    }

    fn leave(&mut self, now: Timestamp, at_once: usize) -> Leave {
        if self.under_way.len() >= at_once {
            return Leave::Wait;
        }
        self.breaker.leave(now)
    }
}
