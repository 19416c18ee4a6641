use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::lane::PAUSES;
use super::side::AT_ONCE;
use super::*;
use crate::domain::delivery::DeliveryId;
use crate::domain::ids::SubmissionId;
use crate::workers::breaker::Heard;

const NOW: Timestamp = Timestamp::from_millis(1_757_165_031_007);

fn endpoint(number: usize) -> EndpointKey {
    EndpointKey::standing(&format!("endpoint-{number:03}"))
}

fn address(number: usize) -> EndpointKey {
    EndpointKey::of_address(&format!("http://app-{number:05}.internal:8000/hook"))
}

fn one(endpoint: &EndpointKey, number: i64, attempts: u32) -> DueDelivery {
    DueDelivery {
        id: DeliveryId(number),
        event_seq: number,
        endpoint: endpoint.clone(),
        url: None,
        submission_id: SubmissionId::first_at(NOW),
        attempts,
        due_at: NOW,
        held_until: None,
    }
}

/// Deliveries to `endpoint`, numbered from `first` on.
fn due(endpoint: &EndpointKey, first: i64, count: i64) -> Vec<DueDelivery> {
    (first..first + count)
        .map(|number| one(endpoint, number, 0))
        .collect()
}

fn lanes(count: usize, at_once: usize) -> Lanes {
    let mut lanes = Lanes::new(at_once);
    for number in 0..count {
        let endpoint = endpoint(number);
        lanes.mark(&endpoint);
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
    let mut lanes = lanes(3, 256);
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
    let mut lanes = lanes(20, 128);
    let begun = begin_all(&mut lanes, NOW);
    assert_eq!(begun.len(), 32);
    // A lane that comes later begins all the same, one at a time.
    let late = endpoint(999);
    for first in [0, 100] {
        lanes.mark(&late);
        assert!(lanes.wanting(NOW).contains(&late));
        lanes.fill(&late, due(&late, first, 1), 64);
        let mut begun = begin_all(&mut lanes, NOW);
        assert_eq!(begun.len(), 1);
        lanes.mark(&late);
        assert!(!lanes.wanting(NOW).contains(&late));
        end(&mut lanes, begun.remove(0), Heard::Answer, NOW);
    }
    let all = begin_all(&mut lanes, NOW).len() + 32;
    assert!(all <= 64, "{all}");
}

#[test]
fn a_lane_whose_deliveries_fail_is_tried_with_one_and_opens_again() {
    let mut lanes = lanes(1, 256);
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
    let mut lanes = Lanes::new(256);
    let only = endpoint(0);
    lanes.mark(&only);
    assert_eq!(lanes.wanting(NOW), std::slice::from_ref(&only));
    lanes.fill(&only, due(&only, 0, 2), 2);
    assert!(lanes.wanting(NOW).is_empty(), "something was found");
    let begun = begin_all(&mut lanes, NOW);
    assert_eq!(lanes.wanting(NOW), std::slice::from_ref(&only));
    lanes.fill(&only, due(&only, 0, 3), 64);
    assert_eq!(begin_all(&mut lanes, NOW).len(), 1);
    assert!(lanes.wanting(NOW).is_empty(), "there was no more");
    lanes.retain(&HashSet::new());
    for begun in begun {
        end(&mut lanes, begun, Heard::Answer, NOW);
    }
    lanes.mark(&only);
    lanes.fill(&only, due(&only, 10, 64), 64);
    assert_eq!(begin_all(&mut lanes, NOW).len(), AT_ONCE - 1);
}

/// How it is behind the scenes: what is pending, and when an attempt under way will end.
struct World {
    lanes: Lanes,
    now: Timestamp,
    pending: BTreeMap<EndpointKey, Vec<DueDelivery>>,
    under_way: Vec<(Timestamp, (DueDelivery, Leave))>,
    /// Of those that answer: when the delivery was due, by its number.
    delivered: HashMap<i64, Timestamp>,
    looked_for: usize,
}

/// Of attempts that are never answered.
const TIMEOUT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(500);

/// Both a tenth of what may come: five thousand addresses, and 256 attempts.
const SILENT: i64 = 500;
const AT_ONCE_IN_ALL: usize = 26;

impl World {
    fn new() -> Self {
        Self {
            lanes: Lanes::new(AT_ONCE_IN_ALL),
            now: NOW,
            pending: BTreeMap::new(),
            under_way: Vec::new(),
            delivered: HashMap::new(),
            looked_for: 0,
        }
    }

    fn owe(&mut self, delivery: DueDelivery) {
        let pending = self.pending.entry(delivery.endpoint.clone()).or_default();
        pending.push(delivery);
    }

    /// As the forwarder goes on for a step. `answers`: all others are silent.
    fn step(&mut self, answers: &HashSet<EndpointKey>) {
        let (now, mut going_on) = (self.now, Vec::new());
        for (until, mut begun) in std::mem::take(&mut self.under_way) {
            if until > now {
                going_on.push((until, begun));
            } else if answers.contains(&begun.0.endpoint) {
                self.delivered.insert(begun.0.id.0, now);
                end(&mut self.lanes, begun, Heard::Answer, now);
            } else {
                let again = begun.0.clone();
                begun.0.attempts += 1;
                end(&mut self.lanes, begun, Heard::Failure, now);
                self.owe(DueDelivery {
                    attempts: again.attempts + 1,
                    ..again
                });
            }
        }
        self.under_way = going_on;
        self.pending.retain(|_, due| !due.is_empty());
        self.lanes
            .retain(&self.pending.keys().cloned().collect::<HashSet<_>>());
        for endpoint in self.pending.keys() {
            self.lanes.mark(endpoint);
        }
        loop {
            for begun in begin_all(&mut self.lanes, now) {
                let due = self.pending.get_mut(&begun.0.endpoint).unwrap();
                due.retain(|one| one.id != begun.0.id);
                let is_quick = answers.contains(&begun.0.endpoint);
                let takes = if is_quick { STEP } else { TIMEOUT };
                self.under_way.push((now.after(takes), begun));
            }
            let wanting = self.lanes.wanting(now);
            if wanting.is_empty() {
                break;
            }
            for endpoint in wanting {
                self.looked_for += 1;
                let due = self.pending.get(&endpoint).cloned().unwrap_or_default();
                self.lanes.fill(&endpoint, due, 64);
            }
        }
        self.now = now.after(STEP);
    }
}

/// Two deliveries to each of so many addresses that never answer, all at once; and every ten seconds one to a good address and
/// one to a good endpoint. How long these took at most, and what was looked for.
fn waits_beside_silent_addresses(attempts: u32) -> (Duration, Duration, usize) {
    let mut world = World::new();
    let (good, standing) = (address(99_999), endpoint(0));
    let answers = HashSet::from([good.clone(), standing.clone()]);
    for number in 0..2 * SILENT {
        let lane = address(usize::try_from(number % SILENT).unwrap());
        world.owe(one(&lane, number, attempts));
    }
    let (mut of_good, mut of_standing) = (Duration::ZERO, Duration::ZERO);
    for round in 0..6 {
        let began = world.now;
        let (first, second) = (100_000 + round, 200_000 + round);
        world.owe(one(&good, first, 0));
        world.owe(one(&standing, second, 0));
        for _ in 0..20_000 {
            let is_delivered = |number| world.delivered.contains_key(&number);
            if is_delivered(first) && is_delivered(second) && world.now.since(began) >= TIMEOUT {
                break;
            }
            world.step(&answers);
        }
        of_good = of_good.max(world.delivered[&first].since(began));
        of_standing = of_standing.max(world.delivered[&second].since(began));
    }
    (of_good, of_standing, world.looked_for)
}

#[test]
fn standing_endpoints_do_not_wait_for_addresses_that_apps_named_nor_do_good_ones_for_those_that_failed()
 {
    // Silent ones that nobody has called yet: whoever comes later has its turn after them, once.
    let (of_good, of_standing, _) = waits_beside_silent_addresses(0);
    assert!(of_standing <= 2 * STEP, "{of_standing:?}");
    let turns = u32::try_from(SILENT).unwrap() / 10 + 2;
    assert!(of_good <= turns * TIMEOUT, "{of_good:?}");
    // After a restart: what was found for them tells that they failed.
    let (of_good, of_standing, looked_for) = waits_beside_silent_addresses(1);
    assert!(of_standing <= 2 * STEP, "{of_standing:?}");
    assert!(of_good <= 2 * STEP, "{of_good:?}");
    // Each once, and then for what can be begun.
    assert!(looked_for < 1_000, "{looked_for}");
}
