use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use super::pool::AT_ONCE;
use super::queue::PAUSES;
use super::*;
use crate::domain::delivery::DeliveryId;
use crate::domain::event::id::{Epoch, EventId};
use crate::domain::ids::SubmissionId;
use crate::workers::forwarder::answer::EndpointOutcome;

const UNAVAILABLE: EndpointOutcome = EndpointOutcome::Unavailable { retry_after: None };

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
        event_id: EventId {
            epoch: Epoch::random(),
            seq: number,
        },
        endpoint: endpoint.clone(),
        url: None,
        submission_id: SubmissionId::first_at(NOW),
        attempts,
        due_at: NOW,
        held_until: None,
    }
}

/// Deliveries to `endpoint`, numbered from `first`.
fn due(endpoint: &EndpointKey, first: i64, count: i64) -> Vec<DueDelivery> {
    (first..first + count)
        .map(|number| one(endpoint, number, 0))
        .collect()
}

fn queues(count: usize, at_once: usize) -> Queues {
    let mut queues = Queues::new(at_once);
    for number in 0..count {
        let endpoint = endpoint(number);
        queues.mark(&endpoint);
        let first = 1000 * i64::try_from(number).unwrap();
        queues.fill(&endpoint, due(&endpoint, first, 64), 64);
    }
    queues
}

fn endpoints(wanting: &[QueueToLoad]) -> Vec<&EndpointKey> {
    wanting.iter().map(|wanting| &wanting.endpoint).collect()
}

fn begin_all(queues: &mut Queues, now: Timestamp) -> Vec<(DueDelivery, Permit)> {
    std::iter::from_fn(|| queues.next(now)).collect()
}

fn end(
    queues: &mut Queues,
    begun: (DueDelivery, Permit),
    outcome: EndpointOutcome,
    now: Timestamp,
) {
    let (due, permit) = begun;
    let ended = Ended {
        id: due.id,
        endpoint: due.endpoint,
        permit,
        outcome: Some(outcome),
    };
    queues.end(&ended, now);
}

#[test]
fn a_queue_has_eight_under_way_and_queues_take_turns() {
    let mut queues = queues(3, 256);
    let begun = begin_all(&mut queues, NOW);
    assert_eq!(begun.len(), 3 * AT_ONCE);
    let first: HashSet<_> = begun[..3]
        .iter()
        .map(|(due, _)| due.endpoint.clone())
        .collect();
    assert_eq!(first.len(), 3);
    // Each queue keeps its own order.
    for number in 0..3 {
        let ids = begun
            .iter()
            .filter(|(due, _)| due.endpoint == endpoint(number));
        let ids: Vec<i64> = ids.map(|(due, _)| due.id.0 % 1000).collect();
        assert_eq!(ids, [0, 1, 2, 3, 4, 5, 6, 7]);
    }
}

#[test]
fn silent_endpoints_leave_half_of_all_attempts_to_those_that_have_none() {
    let mut queues = queues(20, 128);
    let begun = begin_all(&mut queues, NOW);
    assert_eq!(begun.len(), 32);
    // A queue that is added later can still begin, one attempt at a time.
    let late = endpoint(999);
    for first in [0, 100] {
        queues.mark(&late);
        assert!(endpoints(&queues.list_to_load(NOW)).contains(&&late));
        queues.fill(&late, due(&late, first, 1), 64);
        let mut begun = begin_all(&mut queues, NOW);
        assert_eq!(begun.len(), 1);
        queues.mark(&late);
        assert!(!endpoints(&queues.list_to_load(NOW)).contains(&&late));
        end(&mut queues, begun.remove(0), EndpointOutcome::Answered, NOW);
    }
    let all = begin_all(&mut queues, NOW).len() + 32;
    assert!(all <= 64, "{all}");
}

#[test]
fn an_unavailable_endpoint_gets_a_few_probes_at_a_time_until_it_answers() {
    let mut queues = queues(1, 256);
    for begun in begin_all(&mut queues, NOW) {
        end(&mut queues, begun, UNAVAILABLE, NOW);
    }
    assert!(begin_all(&mut queues, NOW).is_empty());
    let later = NOW.after(PAUSES.min);
    let mut probes = begin_all(&mut queues, later);
    assert_eq!(probes.len(), PROBES);
    assert!(probes.iter().all(|(_, permit)| *permit == Permit::Probe));
    end(
        &mut queues,
        probes.remove(0),
        EndpointOutcome::Answered,
        later,
    );
    let (only, begun) = (endpoint(0), probes.len());
    queues.mark(&only);
    queues.fill(&only, due(&only, 0, 64), 64);
    assert_eq!(begin_all(&mut queues, later).len() + begun, AT_ONCE);
}

#[test]
fn what_is_under_way_is_not_begun_twice_and_an_empty_queue_is_loaded() {
    let mut queues = Queues::new(256);
    let only = endpoint(0);
    queues.mark(&only);
    assert_eq!(endpoints(&queues.list_to_load(NOW)), [&only]);
    queues.fill(&only, due(&only, 0, 2), 2);
    assert!(queues.list_to_load(NOW).is_empty(), "something was found");
    let begun = begin_all(&mut queues, NOW);
    assert_eq!(endpoints(&queues.list_to_load(NOW)), [&only]);
    queues.fill(&only, due(&only, 0, 3), 64);
    assert_eq!(begin_all(&mut queues, NOW).len(), 1);
    assert!(queues.list_to_load(NOW).is_empty(), "there was no more");
    queues.retain(&HashSet::new());
    for begun in begun {
        end(&mut queues, begun, EndpointOutcome::Answered, NOW);
    }
    queues.mark(&only);
    queues.fill(&only, due(&only, 10, 64), 64);
    assert_eq!(begin_all(&mut queues, NOW).len(), AT_ONCE - 1);
}

#[test]
fn probes_alternate_between_the_longest_overdue_and_the_newest() {
    let mut queues = queues(1, 256);
    for begun in begin_all(&mut queues, NOW) {
        end(&mut queues, begun, UNAVAILABLE, NOW);
    }
    let (only, later) = (endpoint(0), NOW.after(PAUSES.min));
    // Only a few from both ends were kept. The next ones come from the store.
    let rest = begin_all(&mut queues, later);
    let ids: Vec<i64> = rest.iter().map(|(due, _)| due.id.0).collect();
    assert_eq!(ids, [8, 63, 9, 62]);
    for begun in rest {
        end(&mut queues, begun, UNAVAILABLE, later);
    }
    let later = later.after(2 * PAUSES.min);
    let wanting = queues.list_to_load(later);
    assert_eq!(wanting.len(), 1);
    assert!(wanting[0].is_recovering);
    let mut both_ends = due(&only, 10, 4);
    both_ends.extend(due(&only, 996, 4));
    queues.fill(&only, both_ends, PROBES);
    let begun = begin_all(&mut queues, later);
    let ids: Vec<i64> = begun.iter().map(|(due, _)| due.id.0).collect();
    assert_eq!(ids, [10, 999, 11, 998]);
}

#[test]
fn an_endpoint_that_asks_for_a_delay_gets_nothing_until_it_is_over_and_others_go_on() {
    let mut queues = queues(2, 256);
    let mut begun = begin_all(&mut queues, NOW);
    let first = begun.remove(0);
    let slow = first.0.endpoint.clone();
    let retry_after = Some(Duration::from_secs(7));
    end(
        &mut queues,
        first,
        EndpointOutcome::Unavailable { retry_after },
        NOW,
    );
    for begun in begun {
        end(&mut queues, begun, EndpointOutcome::Answered, NOW);
    }
    let during = NOW.after(Duration::from_millis(6999));
    let begun = begin_all(&mut queues, during);
    assert_eq!(begun.len(), AT_ONCE);
    assert!(begun.iter().all(|(due, _)| due.endpoint != slow));
    assert!(queues.next(NOW.after(Duration::from_secs(7))).is_some());
}

/// A simulation of the store and the endpoints: what is pending, and when each attempt ends.
struct World {
    queues: Queues,
    now: Timestamp,
    pending: BTreeMap<EndpointKey, Vec<DueDelivery>>,
    under_way: Vec<(Timestamp, (DueDelivery, Permit))>,
    /// When each delivery was confirmed, by its number.
    delivered: HashMap<i64, Timestamp>,
    loaded: usize,
}

/// The length of an attempt that is never answered.
const TIMEOUT: Duration = Duration::from_secs(10);
const STEP: Duration = Duration::from_millis(500);

/// Silent addresses and the limit on attempts: a tenth of a bad real case, which has 5,000 and 256.
const SILENT: i64 = 500;
const AT_ONCE_IN_ALL: usize = 26;

impl World {
    fn new() -> Self {
        Self {
            queues: Queues::new(AT_ONCE_IN_ALL),
            now: NOW,
            pending: BTreeMap::new(),
            under_way: Vec::new(),
            delivered: HashMap::new(),
            loaded: 0,
        }
    }

    fn owe(&mut self, delivery: DueDelivery) {
        let pending = self.pending.entry(delivery.endpoint.clone()).or_default();
        pending.push(delivery);
    }

    /// Does what the forwarder does in one step. Endpoints that are not in `answers` are silent.
    fn step(&mut self, answers: &HashSet<EndpointKey>) {
        let (now, mut going_on) = (self.now, Vec::new());
        for (until, mut begun) in std::mem::take(&mut self.under_way) {
            if until > now {
                going_on.push((until, begun));
            } else if answers.contains(&begun.0.endpoint) {
                self.delivered.insert(begun.0.id.0, now);
                end(&mut self.queues, begun, EndpointOutcome::Answered, now);
            } else {
                let again = begun.0.clone();
                begun.0.attempts += 1;
                end(&mut self.queues, begun, UNAVAILABLE, now);
                self.owe(DueDelivery {
                    attempts: again.attempts + 1,
                    ..again
                });
            }
        }
        self.under_way = going_on;
        self.pending.retain(|_, due| !due.is_empty());
        self.queues
            .retain(&self.pending.keys().cloned().collect::<HashSet<_>>());
        for endpoint in self.pending.keys() {
            self.queues.mark(endpoint);
        }
        loop {
            for begun in begin_all(&mut self.queues, now) {
                let due = self.pending.get_mut(&begun.0.endpoint).unwrap();
                due.retain(|one| one.id != begun.0.id);
                let is_quick = answers.contains(&begun.0.endpoint);
                let takes = if is_quick { STEP } else { TIMEOUT };
                self.under_way.push((now.after(takes), begun));
            }
            let wanting = self.queues.list_to_load(now);
            if wanting.is_empty() {
                break;
            }
            for QueueToLoad { endpoint, .. } in wanting {
                self.loaded += 1;
                let due = self.pending.get(&endpoint).cloned().unwrap_or_default();
                self.queues.fill(&endpoint, due, 64);
            }
        }
        self.now = now.after(STEP);
    }
}

/// Simulates two deliveries to each of `SILENT` addresses that never answer, all at once. Every ten
/// seconds, one delivery is added to a good address and one to a good endpoint. Returns the longest
/// delays of these two, and the number of loads.
fn waits_beside_silent_addresses(attempts: u32) -> (Duration, Duration, usize) {
    let mut world = World::new();
    let (good, standing) = (address(99_999), endpoint(0));
    let answers = HashSet::from([good.clone(), standing.clone()]);
    for number in 0..2 * SILENT {
        let silent = address(usize::try_from(number % SILENT).unwrap());
        world.owe(one(&silent, number, attempts));
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
    (of_good, of_standing, world.loaded)
}

#[test]
fn standing_endpoints_do_not_wait_for_addresses_that_apps_named_nor_do_good_ones_for_those_that_failed()
 {
    // The silent addresses were never called. A later address waits for one turn of each of them.
    let (of_good, of_standing, _) = waits_beside_silent_addresses(0);
    assert!(of_standing <= 2 * STEP, "{of_standing:?}");
    let turns = u32::try_from(SILENT).unwrap() / 10 + 2;
    assert!(of_good <= turns * TIMEOUT, "{of_good:?}");
    // After a restart, the `attempts` of the loaded deliveries show that their endpoints failed.
    let (of_good, of_standing, loaded) = waits_beside_silent_addresses(1);
    assert!(of_standing <= 2 * STEP, "{of_standing:?}");
    assert!(of_good <= 2 * STEP, "{of_good:?}");
    // Each queue was loaded once, and then only if it could begin something.
    assert!(loaded < 1_000, "{loaded}");
}
