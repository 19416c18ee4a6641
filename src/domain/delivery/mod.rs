//! A delivery: one event that one endpoint must receive. It is sent until it is delivered or dead.
//!
//! Pure: which process may send it, what the end of an attempt changes, and when the next attempt
//! is. A delivered delivery never changes. A dead one is pending again only if an operator retries
//! it.

mod endpoint;
pub mod gone;
pub mod schedule;
mod shown;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use endpoint::EndpointKey;
pub use shown::ShownState;

use super::ids::SubmissionId;
use super::timestamp::Timestamp;

/// The length of a lease: enough for an attempt of 10 s, and for its wait before that.
pub const LEASE: Duration = Duration::from_secs(30);

/// The longest lease that counts. One that ends later was made by a clock that was far ahead.
pub const LEASE_MAX: Duration = Duration::from_mins(10);

/// How long a delivery to a disabled endpoint stays due before it is dead. Longer than a weekend,
/// so that an endpoint that was disabled by mistake on Friday loses nothing until Monday.
pub const HELD_MAX: Duration = Duration::from_hours(72);

/// The status 410 Gone.
const GONE: u16 = 410;

/// Characters kept of the reason why an attempt failed.
const ERROR_CHARS_MAX: usize = 200;

/// The number of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    Pending,
    Delivered,
    Dead,
}

/// The id of a process as a lease holder, unique for each start.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder(Arc<str>);

/// The right of one process to send a delivery, for a limited time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Lease {
    pub holder: Holder,
    pub until: Timestamp,
}

/// How an attempt ended, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AttemptEnd {
    /// 2xx.
    Delivered { status: u16 },
    /// Any other answer, or none. `status`: of the answer.
    Failed {
        status: Option<u16>,
        reason: String,
        retry_after: Option<Duration>,
    },
    /// Never sent, because it must not be.
    Refused { reason: String },
    /// Not sent, or cut off by a stop. It is still due and uses up no attempt.
    GivenBack,
}

/// The state of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub endpoint: EndpointKey,
    pub state: DeliveryState,
    /// Attempts since the delivery was created or last retried.
    pub attempts: u32,
    pub due_at: Timestamp,
    pub lease: Option<Lease>,
    pub last_status: Option<u16>,
    pub last_error: Option<String>,
    pub ended_at: Option<Timestamp>,
}

impl DeliveryState {
    pub const ALL: [Self; 3] = [Self::Pending, Self::Delivered, Self::Dead];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Delivered => "delivered",
            Self::Dead => "dead",
        }
    }

    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

impl Holder {
    /// A new id for a process that starts at `now`.
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
    /// Whether `holder` may send it, because no other process holds its lease. `shared`: there may
    /// be other processes. Otherwise the lease of another holder belongs to a process that has
    /// ended.
    pub fn is_free_for(&self, holder: &Holder, now: Timestamp, shared: bool) -> bool {
        let lease = self.lease.as_ref();
        let is_anothers = lease.is_some_and(|lease| lease.holder != *holder && lease.counts(now));
        !(shared && is_anothers)
    }

    /// Claims it for `holder`. Returns `false` if it is not due, or another process holds it.
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

    /// Takes the end of attempt number `attempt` by `holder`. Returns `None` if it changes nothing:
    /// it was reported before, or another process has claimed the delivery since. But a 2xx always
    /// counts.
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

    /// Makes it due now because an operator wants it. A dead one gets all its attempts again.
    /// Returns `false` if it was delivered.
    pub fn retry(&mut self, now: Timestamp) -> bool {
        match self.state {
            DeliveryState::Delivered => return false,
            // An attempt that is under way goes on.
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
    /// Whether the endpoint, or something in front of it, answered that it is gone.
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

/// People read it, and it may quote what another program sent.
fn bounded(reason: &str) -> String {
    let plain = |character: char| {
        if character.is_control() {
            ' '
        } else {
            character
        }
    };
    reason.chars().take(ERROR_CHARS_MAX).map(plain).collect()
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
