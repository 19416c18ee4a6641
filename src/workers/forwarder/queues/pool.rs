//! The queues that share one half of all attempts. They take turns. Recovering endpoints share a
//! quarter of that half. So an endpoint that was unavailable waits for others that were, and delays
//! no working endpoint.

use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;

use super::QueueToLoad;
use super::queue::{Begun, PROBES, Queue};
use crate::domain::delivery::EndpointKey;
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::DueDelivery;
use crate::workers::breaker::{Change, Permit};
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
    recovering: usize,
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
    pub fn list_to_load(&mut self, now: Timestamp) -> Vec<QueueToLoad> {
        let (good, recovering) = (self.free_slots(), self.free_slots_for_recovering());
        let (mut of_good, mut of_doubtful) = (Vec::new(), Vec::new());
        self.find_in_turn(|endpoint, queue, limits| {
            let is_recovering = queue.is_recovering();
            let (to_load, slots) = if is_recovering {
                (&mut of_doubtful, recovering)
            } else {
                (&mut of_good, good)
            };
            if to_load.len() < slots && queue.can_be_loaded(now, limits.of(queue)) {
                let endpoint = endpoint.clone();
                to_load.push(QueueToLoad {
                    endpoint,
                    is_recovering,
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

    pub fn next(&mut self, now: Timestamp) -> Option<(DueDelivery, Permit)> {
        if self.free_slots() == 0 {
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
            was_recovering,
        } = begun;
        self.turn = Some(endpoint);
        self.under_way.all += 1;
        self.under_way.recovering += usize::from(was_recovering);
        Some((delivery, permit))
    }

    pub fn end(&mut self, ended: &Ended, now: Timestamp) -> Option<Change> {
        self.under_way.all -= 1;
        let queue = self.all.get_mut(&ended.endpoint)?;
        let (was_recovering, change) = queue.end(ended, now);
        self.under_way.recovering -= usize::from(was_recovering);
        change
    }

    pub fn retain(&mut self, has_work: &HashSet<EndpointKey>) {
        let is_kept = |endpoint: &EndpointKey, queue: &mut Queue| {
            has_work.contains(endpoint) || queue.is_busy()
        };
        self.all.retain(is_kept);
    }

    /// The number of attempts that may begin now.
    fn free_slots(&self) -> usize {
        self.at_once.saturating_sub(self.under_way.all)
    }

    /// The number of attempts that may begin now to recovering endpoints.
    fn free_slots_for_recovering(&self) -> usize {
        let budget = (self.at_once / 4).max(1);
        self.free_slots()
            .min(budget.saturating_sub(self.under_way.recovering))
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
        let good = self.under_way.all - self.under_way.recovering;
        Limits {
            good: if good < self.at_once.div_ceil(2) {
                AT_ONCE
            } else {
                1
            },
            recovering: if self.free_slots_for_recovering() > 0 {
                PROBES
            } else {
                0
            },
        }
    }
}

/// The maximum number of attempts at the same time to one endpoint.
#[derive(Clone, Copy)]
struct Limits {
    good: usize,
    recovering: usize,
}

impl Limits {
    fn of(self, queue: &Queue) -> usize {
        if queue.is_recovering() {
            self.recovering
        } else {
            self.good
        }
    }
}
