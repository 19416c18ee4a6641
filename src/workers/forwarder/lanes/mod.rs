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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::ids::SubmissionId;
    use crate::workers::breaker::Heard;

    const NOW: Timestamp = Timestamp::from_millis(1_757_165_031_007);

    fn endpoint(number: usize) -> EndpointKey {
        EndpointKey::standing(&format!("endpoint-{number:03}"))
    }

    /// Deliveries to `endpoint`, numbered from `first` on.
    fn due(endpoint: &EndpointKey, first: i64, count: i64) -> Vec<DueDelivery> {
        let one = |number| DueDelivery {
            id: DeliveryId(number),
            event_seq: number,
            endpoint: endpoint.clone(),
            url: None,
            submission_id: SubmissionId::first_at(NOW),
            attempts: 0,
            due_at: NOW,
            held_until: None,
        };
        (first..first + count).map(one).collect()
    }

    fn lanes(count: usize, at_once: usize) -> Lanes {
        let mut lanes = Lanes::new(at_once);
        for number in 0..count {
            let endpoint = endpoint(number);
            assert!(lanes.has_room(&endpoint, NOW));
            let first = 1000 * i64::try_from(number).unwrap();
            lanes.fill(&endpoint, due(&endpoint, first, 64), 64);
        }
        lanes
    }

    fn begin_all(lanes: &mut Lanes, now: Timestamp) -> Vec<(DueDelivery, Leave)> {
        std::iter::from_fn(|| lanes.next(now)).collect()
    }

    fn end(lanes: &mut Lanes, begun: (DueDelivery, Leave), heard: Heard, now: Timestamp) {
        let (due, leave) = begun;
        let ended = Ended {
            id: due.id,
            endpoint: due.endpoint,
            leave,
            heard: Some(heard),
        };
        lanes.end(&ended, now);
    }

    #[test]
    fn a_lane_has_eight_under_way_and_lanes_take_turns() {
        let mut lanes = lanes(3, 128);
        let begun = begin_all(&mut lanes, NOW);
        assert_eq!(begun.len(), 3 * AT_ONCE);
        let first: HashSet<_> = begun[..3]
            .iter()
            .map(|(due, _)| due.endpoint.clone())
            .collect();
        assert_eq!(first.len(), 3);
        // Each lane in its own order.
        for number in 0..3 {
            let ids = begun
                .iter()
                .filter(|(due, _)| due.endpoint == endpoint(number));
            let ids: Vec<i64> = ids.map(|(due, _)| due.id.0 % 1000).collect();
            assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6, 7]);
        }
    }

    #[test]
    fn silent_lanes_leave_half_of_all_attempts_to_those_that_have_none() {
        let mut lanes = lanes(40, 128);
        let begun = begin_all(&mut lanes, NOW);
        assert_eq!(begun.len(), 64);
        // A lane that comes later begins all the same, one at a time.
        let late = endpoint(999);
        for first in [0, 100] {
            assert!(lanes.has_room(&late, NOW));
            lanes.fill(&late, due(&late, first, 64), 64);
            let mut begun = begin_all(&mut lanes, NOW);
            assert_eq!(begun.len(), 1);
            assert!(!lanes.has_room(&late, NOW));
            end(&mut lanes, begun.remove(0), Heard::Answer, NOW);
        }
        let all = begin_all(&mut lanes, NOW).len() + 64;
        assert!(all <= 128, "{all}");
    }

    #[test]
    fn a_lane_whose_deliveries_fail_is_tried_with_one_and_opens_again() {
        let mut lanes = lanes(1, 128);
        for begun in begin_all(&mut lanes, NOW) {
            end(&mut lanes, begun, Heard::Failure, NOW);
        }
        assert!(begin_all(&mut lanes, NOW).is_empty());
        let later = NOW.after(PAUSES.min);
        let mut probe = begin_all(&mut lanes, later);
        assert_eq!(probe.len(), 1);
        assert_eq!(probe[0].1, Leave::Probe);
        end(&mut lanes, probe.remove(0), Heard::Answer, later);
        assert_eq!(begin_all(&mut lanes, later).len(), AT_ONCE);
    }

    #[test]
    fn what_is_under_way_is_not_begun_twice_and_a_lane_that_is_used_up_is_looked_for() {
        let mut lanes = Lanes::new(128);
        let only = endpoint(0);
        assert!(lanes.has_room(&only, NOW));
        lanes.fill(&only, due(&only, 0, 2), 2);
        let begun = begin_all(&mut lanes, NOW);
        assert_eq!(lanes.used_up(NOW), std::slice::from_ref(&only));
        lanes.fill(&only, due(&only, 0, 3), 64);
        assert_eq!(begin_all(&mut lanes, NOW).len(), 1);
        assert!(lanes.used_up(NOW).is_empty(), "there was no more");
        lanes.retain(&HashSet::new());
        for begun in begun {
            end(&mut lanes, begun, Heard::Answer, NOW);
        }
        assert_eq!(lanes.under_way, 1);
        assert_eq!(lanes.all.len(), 1);
    }
}
