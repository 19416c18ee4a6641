//! One endpoint: what was found for it, what is under way, and whether it takes anything.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::domain::delivery::DeliveryId;
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::DueDelivery;
use crate::workers::breaker::{Breaker, Change, Heard, Leave, Pauses};
use crate::workers::forwarder::attempt::Ended;

/// Between attempts that go to see whether an endpoint takes deliveries again.
pub const PAUSES: Pauses = Pauses {
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
};

pub struct Lane {
    /// With whether it was begun in doubt.
    under_way: HashMap<DeliveryId, bool>,
    breaker: Breaker<DeliveryId>,
    /// Whether it has ever answered us.
    has_answered: bool,
    /// The longest overdue first.
    found: VecDeque<DueDelivery>,
    /// There may be more to be found.
    more: bool,
}

/// A delivery to be sent.
pub struct Begun {
    pub delivery: DueDelivery,
    pub leave: Leave,
    pub in_doubt: bool,
}

impl Lane {
    pub fn new() -> Self {
        Self {
            under_way: HashMap::new(),
            breaker: Breaker::new(PAUSES),
            has_answered: false,
            found: VecDeque::new(),
            more: false,
        }
    }

    pub const fn mark(&mut self) {
        self.more = true;
    }

    /// Of one in doubt no more is kept than may be begun.
    pub fn fill(&mut self, due: Vec<DueDelivery>, limit: usize) {
        self.more = due.len() >= limit;
        let is_new = |one: &DueDelivery| !self.under_way.contains_key(&one.id);
        self.found = due.into_iter().filter(is_new).collect();
        if self.is_in_doubt() && self.found.len() > 1 {
            self.found.truncate(1);
            self.more = true;
        }
    }

    /// Whether something failed since it was last answered, here or, if it was never, in another process.
    pub fn is_in_doubt(&self) -> bool {
        let has_failed = |next: &DueDelivery| !self.has_answered && next.attempts > 0;
        self.breaker.is_in_doubt() || self.found.front().is_some_and(has_failed)
    }

    /// Whether there may be more to be found, and one of it could be begun.
    pub fn is_wanting(&mut self, now: Timestamp, at_once: usize) -> bool {
        if !self.more || !self.found.is_empty() {
            return false;
        }
        let leave = self.leave(now, at_once);
        self.breaker.give_back(leave);
        leave != Leave::Wait
    }

    pub fn begin(&mut self, now: Timestamp, at_once: usize) -> Option<Begun> {
        if self.found.is_empty() {
            return None;
        }
        let leave = self.leave(now, at_once);
        if leave == Leave::Wait {
            return None;
        }
        let in_doubt = self.is_in_doubt();
        let delivery = self.found.pop_front()?;
        self.under_way.insert(delivery.id, in_doubt);
        Some(Begun {
            delivery,
            leave,
            in_doubt,
        })
    }

    /// Gives whether it was begun in doubt.
    pub fn end(&mut self, ended: &Ended, now: Timestamp) -> (bool, Option<Change>) {
        let was_in_doubt = self.under_way.remove(&ended.id).unwrap_or_default();
        let Some(heard) = ended.heard else {
            self.breaker.give_back(ended.leave);
            return (was_in_doubt, None);
        };
        self.has_answered |= heard != Heard::Failure;
        let change = self.breaker.hear(heard, ended.id, ended.leave, now);
        (was_in_doubt, change)
    }

    /// Whether something is under way.
    pub fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    fn leave(&mut self, now: Timestamp, at_once: usize) -> Leave {
        if self.under_way.len() >= at_once {
            return Leave::Wait;
        }
        self.breaker.leave(now)
    }
}
