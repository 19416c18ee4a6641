//! What the forwarder looks for: endpoints with something to send, what is due for one of them, and which are disabled.

use crate::domain::delivery::{DeliveryId, EndpointKey, Holder};
use crate::domain::ids::SubmissionId;
use crate::domain::timestamp::Timestamp;
use crate::store::{Store, StoreError};

/// An endpoint that something is pending for. Due if `schedule::is_due` says so of either time.
#[derive(Clone, Debug)]
pub struct EndpointWork {
    pub endpoint: EndpointKey,
    pub first_due: Timestamp,
    pub last_due: Timestamp,
}

/// A delivery that is due, and that nobody else has taken.
#[derive(Clone, Debug)]
pub struct DueDelivery {
    pub id: DeliveryId,
    /// The `webhook-id`.
    pub event_seq: i64,
    pub endpoint: EndpointKey,
    /// The app's own address; `None`: the endpoint's of the configuration.
    pub url: Option<String>,
    /// Whose task object is sent.
    pub submission_id: SubmissionId,
    /// Made so far; the one to be made is the next.
    pub attempts: u32,
    pub due_at: Timestamp,
    /// Until when it is ours alone without being claimed; `None`: claim it first.
    pub held_until: Option<Timestamp>,
}

/// A standing endpoint that answered 410 and gets nothing until an operator wants it to.
#[derive(Clone, Debug)]
pub struct DisabledEndpoint {
    pub name: EndpointKey,
    pub since: Timestamp,
    pub reason: String,
}

impl Store {
    /// At most `limit` endpoints with something pending, in the order of their names, from the one after `after` on.
    pub async fn list_endpoints_with_work(
        &self,
        after: Option<&EndpointKey>,
        limit: u32,
    ) -> Result<Vec<EndpointWork>, StoreError> {
        let _ = (after, limit);
        Ok(Vec::new())
    }

    /// What is due for `endpoint` at `now` and may be sent by `holder`, the longest overdue first.
    pub async fn list_due_deliveries(
        &self,
        endpoint: &EndpointKey,
        now: Timestamp,
        holder: &Holder,
        limit: u32,
    ) -> Result<Vec<DueDelivery>, StoreError> {
        let _ = (endpoint, now, holder, limit);
        Ok(Vec::new())
    }

    pub async fn list_disabled_endpoints(&self) -> Result<Vec<DisabledEndpoint>, StoreError> {
        Ok(Vec::new())
    }
}
