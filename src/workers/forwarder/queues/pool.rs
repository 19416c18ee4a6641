//! The queues that share one half of all attempts. They take turns. Doubtful endpoints share a
//! quarter of that half. So an endpoint that was unavailable waits for others that were, and delays
//! no working endpoint.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use super::Wanting;
use super::queue::{Begun, PROBES, Queue};
use crate::domain::delivery::EndpointKey;
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::DueDelivery;
use crate::workers::breaker::{Change, Leave};
use crate::workers::forwarder::attempt::Ended;

/// The maximum number of attempts at the same time to one endpoint. At 5 ms each, this allows more
/// than a thousand per second.
pub const AT_ONCE: usize = 8;

/// The queues that share one half of all attempts.
pub struct Pool {
    all: BTreeMap<EndpointKey, Queue>,
    under_way: UnderWay,
    at_once: usize,
    /// The endpoint of the last attempt. The one after it is next.
    turn: Option<EndpointKey>,
}

#[derive(Clone, Copy, Default)]
struct UnderWay {
    all: usize,
    doubtful: usize,
}

impl Pool {
    pub fn new(at_once: usize) -> Self {
        Self {
            all: BTreeMap::new(),
            under_way: UnderWay::default(),
            at_once: at_once.max(1),
            turn: None,
        }
    }

    pub fn mark(&mut self, endpoint: &EndpointKey) {
        let queue = self.all.entry(endpoint.clone()).or_insert_with(Queue::new);
        queue.mark();
    }

    /// The queues to load now, in the order of their turns.
    pub fn wanting(&mut self, now: Timestamp) -> Vec<Wanting> {
        let (good, doubtful) = (self.room(false), self.room(true));
        let (mut of_good, mut of_doubtful) = (Vec::new(), Vec::new());
        self.find_in_turn(|endpoint, queue, limits| {
            let is_doubtful = queue.is_doubtful();
            let (wanting, room) = if is_doubtful {
                (&mut of_doubtful, doubtful)
            } else {
                (&mut of_good, good)
            };
            if wanting.len() < room && queue.is_wanting(now, limits.of(queue)) {
                let endpoint = endpoint.clone();
                wanting.push(Wanting {
                    endpoint,
                    is_doubtful,
                });
            }
            None::<()>
        });
        of_good.append(&mut of_doubtful);
        of_good
    }

    pub fn fill(&mut self, endpoint: &EndpointKey, due: Vec<DueDelivery>, limit: usize) {
        if let Some(queue) = self.all.get_mut(endpoint) {
            queue.fill(due, limit);
        }
    }

    pub fn next(&mut self, now: Timestamp) -> Option<(DueDelivery, Leave)> {
        if self.room(false) == 0 {
            return None;
        }
        let try_queue = |endpoint: &EndpointKey, queue: &mut Queue, limits: Limits| {
            let begun = queue.begin(now, limits.of(queue))?;
            Some((endpoint.clone(), begun))
        };
        let (endpoint, begun) = self.find_in_turn(try_queue)?;
        let Begun {
            delivery,
            permit,
            was_doubtful,
        } = begun;
        self.turn = Some(endpoint);
        self.under_way.all += 1;
        self.under_way.doubtful += usize::from(was_doubtful);
        Some((delivery, permit))
    }

    pub fn end(&mut self, ended: &Ended, now: Timestamp) -> Option<Change> {
        self.under_way.all -= 1;
        let queue = self.all.get_mut(&ended.endpoint)?;
        let (was_doubtful, change) = queue.end(ended, now);
        self.under_way.doubtful -= usize::from(was_doubtful);
        change
    }

    pub fn retain(&mut self, has_work: &HashSet<EndpointKey>) {
        let is_kept = |endpoint: &EndpointKey, queue: &mut Queue| {
            has_work.contains(endpoint) || queue.is_busy()
        };
        self.all.retain(is_kept);
    }

    /// The number of attempts that may begin now, to doubtful endpoints or to others.
    fn room(&self, doubtful: bool) -> usize {
        let room = self.at_once.saturating_sub(self.under_way.all);
        if doubtful {
            let share = (self.at_once / 4).max(1);
            room.min(share.saturating_sub(self.under_way.doubtful))
        } else {
            room
        }
    }

    /// Returns the first result of `try_queue`, beginning with the queue after the last turn.
    fn find_in_turn<T>(
        &mut self,
        mut try_queue: impl FnMut(&EndpointKey, &mut Queue, Limits) -> Option<T>,
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
            for (endpoint, queue) in self.all.range_mut(range) {
                if let Some(found) = try_queue(endpoint, queue, limits) {
                    return Some(found);
                }
            }
        }
        None
    }

    /// Returns how many attempts one queue may have. Once half of the pool is in use, each queue
    /// gets one at a time. So endpoints that never answer delay the others only if there are as
    /// many of them as attempts in the remaining half.
    fn limits(&self) -> Limits {
        let good = self.under_way.all - self.under_way.doubtful;
        Limits {
            good: if good < self.at_once.div_ceil(2) {
                AT_ONCE
            } else {
                1
            },
            doubtful: if self.room(true) > 0 { PROBES } else { 0 },
        }
    }
}

/// The maximum number of attempts at the same time to one endpoint.
#[derive(Clone, Copy)]
struct Limits {
    good: usize,
    doubtful: usize,
}

impl Limits {
    fn of(self, queue: &Queue) -> usize {
        if queue.is_doubtful() {
            self.doubtful
        } else {
            self.good
        }
    }
}
