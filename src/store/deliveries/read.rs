//! What operators ask for: a page of deliveries, one of them, and how many there are in a state.

use crate::domain::delivery::{Delivery, DeliveryId, DeliveryState, EndpointKey};
use crate::domain::event::EventType;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::timestamp::Timestamp;
use crate::store::reads::TaskName;
use crate::store::{Store, StoreError};

/// A delivery, and what it is about.
#[derive(Clone, Debug)]
pub struct DeliveryView {
    pub delivery: Delivery,
    pub event_seq: i64,
    pub event_type: EventType,
    pub submission_id: SubmissionId,
    pub task_id: Option<TaskId>,
    pub url: Option<String>,
    pub made_at: Timestamp,
    /// Its endpoint gets nothing until an operator wants it to.
    pub endpoint_disabled: bool,
}

/// Which deliveries to list. Absent means all.
#[derive(Clone, Debug, Default)]
pub struct DeliveryFilter {
    pub state: Option<DeliveryState>,
    pub endpoint: Option<EndpointKey>,
    pub task: Option<TaskName>,
    /// Older than this one: the last of the page before.
    pub before: Option<DeliveryId>,
}

/// A page of deliveries, newest first.
#[derive(Clone, Debug, Default)]
pub struct DeliveryPage {
    pub deliveries: Vec<DeliveryView>,
    /// `DeliveryFilter::before` of the page after, if there may be one.
    pub next: Option<DeliveryId>,
}

impl Store {
    pub async fn list_deliveries(
        &self,
        filter: &DeliveryFilter,
        limit: u32,
    ) -> Result<DeliveryPage, StoreError> {
        let _ = (filter, limit);
        Ok(DeliveryPage::default())
    }

    pub async fn find_delivery(&self, id: DeliveryId) -> Result<Option<DeliveryView>, StoreError> {
        let _ = id;
        Ok(None)
    }

    /// How many deliveries are in `state`, up to `overdue::COUNTED_MAX`. Not for `Delivered`, which has no index.
    pub async fn count_deliveries(&self, state: DeliveryState) -> Result<i64, StoreError> {
        let _ = state;
        Ok(0)
    }
}
