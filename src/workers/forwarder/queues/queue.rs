//! The queue of one endpoint: its loaded due deliveries, its attempts under way, and its breaker.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use crate::domain::delivery::DeliveryId;
use crate::domain::timestamp::Timestamp;
use crate::store::deliveries::DueDelivery;
use crate::workers::breaker::{Breaker, CallOutcome, Change, Pauses, Permit};
use crate::workers::forwarder::answer::EndpointOutcome;
use crate::workers::forwarder::attempt::Ended;

/// The pauses between rounds of probes to an unavailable endpoint.
pub const PAUSES: Pauses = Pauses {
    min: Duration::from_secs(1),
    max: Duration::from_secs(30),
};

/// The maximum number of attempts at the same time to a recovering endpoint. More than one, so that
/// an attempt that hangs does not delay the others, and so that both ends of the queue are probed.
pub const PROBES: usize = 4;

/// The queue of one endpoint.
pub struct Queue {
    /// The attempts under way. The value says whether the endpoint was recovering when the attempt
    /// began.
    under_way: HashMap<DeliveryId, bool>,
    breaker: Breaker<DeliveryId>,
    /// Whether the endpoint has ever answered this process.
    has_answered: bool,
    /// The due deliveries to send, the longest overdue first.
    found: VecDeque<DueDelivery>,
    /// Whether the store may have more due deliveries.
    more: bool,
    /// Whether the next probe is the newest delivery instead of the longest overdue.
    newest_next: bool,
}

/// A delivery to send.
pub struct Begun {
    pub delivery: DueDelivery,
    pub permit: Permit,
    pub was_recovering: bool,
}

impl Queue {
    pub fn new() -> Self {
        Self {
            under_way: HashMap::new(),
            breaker: Breaker::with_probes(PAUSES, PROBES),
            has_answered: false,
            found: VecDeque::new(),
            more: false,
            newest_next: false,
        }
    }

    pub const fn mark(&mut self) {
        self.more = true;
    }

    /// Replaces the loaded deliveries by `due`, the longest overdue first. If there are `limit` of
    /// them, the store may have more. For a recovering endpoint, keeps a few from both ends.
    pub fn fill(&mut self, due: Vec<DueDelivery>, limit: usize) {
        let was_recovering = self.is_recovering();
        self.more = due.len() >= limit;
        let is_new = |one: &DueDelivery| !self.under_way.contains_key(&one.id);
        self.found = due.into_iter().filter(is_new).collect();
        if was_recovering || self.is_recovering() {
            self.keep_both_ends();
        }
    }

    /// Whether the endpoint was unavailable and has not answered since. If it never answered this
    /// process, failed attempts of other processes count too.
    pub fn is_recovering(&self) -> bool {
        let has_failed = |next: &DueDelivery| !self.has_answered && next.attempts > 0;
        self.breaker.has_failed_since_answer() || self.found.front().is_some_and(has_failed)
    }

    /// Whether the store may have more due deliveries, and one of them could be sent now.
    pub fn can_be_loaded(&mut self, now: Timestamp, at_once: usize) -> bool {
        if !self.more || !self.found.is_empty() {
            return false;
        }
        let permit = self.permit(now, at_once);
        self.breaker.give_back(permit);
        permit != Permit::Denied
    }

    pub fn begin(&mut self, now: Timestamp, at_once: usize) -> Option<Begun> {
        if self.found.is_empty() {
            return None;
        }
        let permit = self.permit(now, at_once);
        if permit == Permit::Denied {
            return None;
        }
        let was_recovering = self.is_recovering();
        let delivery = self.take_next(was_recovering)?;
        self.under_way.insert(delivery.id, was_recovering);
        Some(Begun {
            delivery,
            permit,
            was_recovering,
        })
    }

    /// Applies the outcome of an attempt. Returns whether the endpoint was recovering at its start,
    /// and the change of the breaker.
    pub fn end(&mut self, ended: &Ended, now: Timestamp) -> (bool, Option<Change>) {
        let was_recovering = self.under_way.remove(&ended.id).unwrap_or_default();
        let Some(outcome) = ended.outcome else {
            self.breaker.give_back(ended.permit);
            return (was_recovering, None);
        };
        let call = match outcome {
            EndpointOutcome::Answered => {
                self.has_answered = true;
                CallOutcome::Answer
            }
            EndpointOutcome::Unavailable { retry_after } => {
                if let Some(length) = retry_after {
                    self.breaker.back_off(length, now);
                }
                CallOutcome::Failure
            }
        };
        let change = self.breaker.record(call, ended.id, ended.permit, now);
        if call == CallOutcome::Failure {
            // The deliveries were loaded for a working endpoint, oldest first.
            self.keep_both_ends();
        }
        (was_recovering, change)
    }

    /// Whether an attempt is under way.
    pub fn is_busy(&self) -> bool {
        !self.under_way.is_empty()
    }

    /// Takes the next delivery. Probes alternate between the longest overdue and the newest: if the
    /// endpoint hangs on some deliveries, it must not be probed with those alone.
    fn take_next(&mut self, is_recovering: bool) -> Option<DueDelivery> {
        if !is_recovering {
            return self.found.pop_front();
        }
        self.newest_next = !self.newest_next;
        if self.newest_next {
            self.found.pop_front()
        } else {
            self.found.pop_back()
        }
    }

    /// Keeps a few loaded deliveries from both ends and discards the others. Those may have changed
    /// by the time they could be sent.
    fn keep_both_ends(&mut self) {
        if self.found.len() > PROBES {
            let newest = self.found.split_off(self.found.len() - PROBES / 2);
            self.found.truncate(PROBES - newest.len());
            self.found.extend(newest);
            self.more = true;
        }
    }

    fn permit(&mut self, now: Timestamp, at_once: usize) -> Permit {
        if self.under_way.len() >= at_once {
            return Permit::Denied;
        }
        self.breaker.permit(now)
    }
}
