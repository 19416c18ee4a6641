//! A delivery: one event that one endpoint must receive. It is sent until it is delivered or dead.
//!
//! Pure. Decides which process may send it, what the outcome of an attempt changes, and when the
//! next attempt is. A delivered delivery never changes. A dead one becomes pending again only if an
//! operator retries it.

mod endpoint;
pub mod gone;
pub mod routes;
pub mod schedule;
mod shown;
pub mod signing;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use endpoint::EndpointKey;
pub use shown::ShownState;

use strum::{EnumString, IntoStaticStr};

use super::ids::SubmissionId;
use super::reason::bounded;
use super::timestamp::Timestamp;

/// The length of a lease. It covers an attempt of 10 s and the wait before it.
pub const LEASE: Duration = Duration::from_secs(30);

/// The longest lease that counts. A lease that ends later was made by a clock that was far ahead.
pub const LEASE_MAX: Duration = Duration::from_mins(10);

/// How long a delivery to a disabled endpoint stays pending before it is dead. Longer than a
/// weekend, so that an endpoint that was disabled by mistake on Friday loses nothing until Monday.
pub const HELD_MAX: Duration = Duration::from_hours(72);

/// The status 410 Gone.
const GONE: u16 = 410;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, EnumString)]
#[strum(const_into_str, serialize_all = "snake_case")]
pub enum DeliveryState {
    Pending,
    Delivered,
    Dead,
}

/// The id of a process as a lease holder. Each start of a process has a new one.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder(Arc<str>);

/// The right of one process to send a delivery, for a limited time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub holder: Holder,
    pub until: Timestamp,
}

/// The outcome of an attempt, or the reason why there was no attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// The endpoint answered 2xx.
    Delivered { status: u16 },
    /// The endpoint gave any other answer, or none. `status` is the status of that answer.
    Failed {
        status: Option<u16>,
        reason: String,
        retry_after: Option<Duration>,
    },
    /// The request was not sent, because it must not be.
    Refused { reason: String },
    /// The request was not sent, or was cut off by a shutdown. The delivery stays due, and the
    /// attempt is not counted.
    GivenBack,
}

/// The state of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub endpoint: EndpointKey,
    pub state: DeliveryState,
    /// Attempts since the delivery was created or last retried by an operator.
    pub attempts: u32,
    pub due_at: Timestamp,
    pub lease: Option<Lease>,
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
    pub ended_at: Option<Timestamp>,
}

impl Holder {
    /// Creates the id of a process that starts at `now`.
    pub fn new(now: Timestamp) -> Self {
        Self(SubmissionId::new(now).to_string().into())
    }

    pub fn parse(text: &str) -> Self {
        Self(text.into())
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Delivery {
    /// Whether `holder` may send the delivery, because no other process holds its lease. `shared`
    /// means that there may be other processes. Otherwise another holder's lease belongs to a
    /// process that has ended.
    pub fn is_free_for(&self, holder: &Holder, now: Timestamp, shared: bool) -> bool {
        let lease = self.lease.as_ref();
        let is_anothers = lease.is_some_and(|lease| lease.holder != *holder && lease.counts(now));
        !(shared && is_anothers)
    }

    /// Claims the delivery for `holder`. Returns `false` if it is not due, or if another process
    /// holds its lease.
    pub fn claim(
        &mut self,
        holder: &Holder,
        lease: Duration,
        now: Timestamp,
        shared: bool,
    ) -> bool {
        let is_due = schedule::is_due(self.due_at, now);
        if self.state != DeliveryState::Pending || !is_due || !self.is_free_for(holder, now, shared)
        {
            return false;
        }
        self.lease = Some(Lease {
            holder: holder.clone(),
            until: now.after(lease.min(LEASE_MAX)),
        });
        true
    }

    /// Applies the outcome of attempt number `attempt`, which `holder` made. Returns `None` if it
    /// changes nothing: it was reported before, or another process has claimed the delivery since.
    /// A 2xx answer counts even then.
    pub fn end(
        &mut self,
        holder: &Holder,
        attempt: u32,
        end: &AttemptEnd,
        jitter: f64,
        now: Timestamp,
    ) -> Option<DeliveryState> {
        if let AttemptEnd::Delivered { status } = end {
            if self.state == DeliveryState::Delivered {
                return None;
            }
            self.attempts = self.attempts.max(attempt);
            (self.last_status, self.last_error) = (Some(*status), None);
            return Some(self.finish(DeliveryState::Delivered, now));
        }
        let is_holders = self
            .lease
            .as_ref()
            .is_some_and(|lease| lease.holder == *holder);
        if self.state != DeliveryState::Pending || !is_holders || attempt != self.attempts + 1 {
            return None;
        }
        match end {
            AttemptEnd::Delivered { .. } => None,
            AttemptEnd::Failed {
                status,
                reason,
                retry_after,
            } => {
                self.attempts = attempt;
                (self.last_status, self.last_error) = (*status, Some(bounded(reason)));
                let Some(gap) = schedule::gap(attempt, jitter, *retry_after) else {
                    return Some(self.finish(DeliveryState::Dead, now));
                };
                (self.lease, self.due_at) = (None, now.after(gap));
                Some(self.state)
            }
            AttemptEnd::Refused { reason } => {
                self.last_error = Some(bounded(reason));
                Some(self.finish(DeliveryState::Dead, now))
            }
            AttemptEnd::GivenBack => {
                self.lease = None;
                Some(self.state)
            }
        }
    }

    /// Makes the delivery due now, at an operator's request. A dead one gets all its attempts
    /// again. Returns `false` if it was delivered.
    pub fn retry(&mut self, now: Timestamp) -> bool {
        match self.state {
            DeliveryState::Delivered => return false,
            // An attempt that is under way continues.
            DeliveryState::Pending => self.due_at = now,
            DeliveryState::Dead => {
                (self.state, self.attempts, self.due_at) = (DeliveryState::Pending, 0, now);
                self.ended_at = None;
            }
        }
        true
    }

    /// Ends a delivery that a disabled endpoint has held for `HELD_MAX`. Returns whether it did.
    pub fn expire(&mut self, now: Timestamp) -> bool {
        if self.state != DeliveryState::Pending || now.since(self.due_at) < HELD_MAX {
            return false;
        }
        self.last_error = Some("its endpoint answered 410 and is disabled".to_owned());
        self.finish(DeliveryState::Dead, now);
        true
    }

    fn finish(&mut self, state: DeliveryState, now: Timestamp) -> DeliveryState {
        (self.state, self.lease, self.ended_at) = (state, None, Some(now));
        state
    }
}

impl AttemptEnd {
    /// Whether the endpoint, or a gateway in front of it, answered 410 Gone.
    pub fn says_gone(&self) -> bool {
        matches!(
            self,
            Self::Failed {
                status: Some(GONE),
                ..
            }
        )
    }
}

impl Lease {
    pub fn counts(&self, now: Timestamp) -> bool {
        self.until > now && self.until <= now.after(LEASE_MAX)
    }
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
