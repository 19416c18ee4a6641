//! One event owed to one endpoint: offered until it is delivered, or dead and seen to be.
//!
//! Pure: who may send, what an attempt makes of a delivery, and when the next is. A delivered delivery never changes; a dead
//! one is pending again only because an operator wants it so.

mod endpoint;
pub mod schedule;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

pub use endpoint::EndpointKey;

use super::ids::SubmissionId;
use super::timestamp::Timestamp;

/// How long whoever took a delivery may be alone with it: an attempt of 10 s, and what it waits for its turn.
pub const LEASE: Duration = Duration::from_secs(30);

/// No lease is longer: one that ends later was taken by a clock that was far ahead, and does not count.
const LEASE_MAX: Duration = Duration::from_mins(10);

/// The number of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeliveryId(pub i64);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DeliveryState {
    Pending,
    Delivered,
    Dead,
}

/// Who sends: one process, by a name that no other has.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Holder(Arc<str>);

/// Somebody has taken the delivery and sends it.
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
    /// Anything else, `status` if there was an answer.
    Failed {
        status: Option<u16>,
        reason: String,
        retry_after: Option<Duration>,
    },
    /// 410: nothing is wanted there any more.
    Gone { status: u16 },
    /// Never sent: it may not be (any longer).
    Refused { reason: String },
    /// Never sent: its endpoint is disabled.
    Disabled,
}

/// What is known of a delivery.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    pub id: DeliveryId,
    pub endpoint: EndpointKey,
    pub state: DeliveryState,
    /// Since it was made, or last made pending again.
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
    /// Of a process that starts at `now`.
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

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}
