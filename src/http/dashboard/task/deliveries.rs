//! The deliveries of a task, with their failed attempts.

use crate::domain::delivery::DeliveryState;
use crate::domain::observation::results::without_query;
use crate::domain::timestamp::Timestamp;
use crate::http::dashboard::text::Moment;
use crate::http::internal::InternalState;
use crate::store::StoreError;
use crate::store::deliveries::{DeliveryFilter, DeliveryView};
use crate::store::read::{TaskName, TaskView};

/// A task has few outcomes and few endpoints.
const DELIVERIES_MAX: u32 = 20;

/// One delivery.
#[derive(Debug)]
pub struct ShownDelivery {
    pub id: i64,
    pub endpoint: String,
    /// The app's own address without its query, which may contain a secret.
    pub url: Option<String>,
    pub event: String,
    pub state: &'static str,
    pub tone: &'static str,
    pub attempts: u32,
    pub made: Moment,
    pub due: Option<Moment>,
    pub ended: Option<Moment>,
    pub last_error: Option<String>,
    pub failed: Vec<Attempt>,
    pub submission_id: String,
    pub is_disabled: bool,
}

/// An attempt that failed.
#[derive(Debug)]
pub struct Attempt {
    pub number: u32,
    pub at: Moment,
    pub status: Option<u16>,
    pub error: String,
}

impl ShownDelivery {
    pub fn new(view: &DeliveryView, now: Timestamp) -> Self {
        let delivery = &view.delivery;
        let state = view.state().as_str();
        let is_pending = delivery.state == DeliveryState::Pending;
        Self {
            id: delivery.id.0,
            endpoint: delivery.endpoint.to_string(),
            url: view.url.as_deref().map(without_query).map(str::to_owned),
            event: format!("{} {}", view.event_type.into_str(), view.event_id),
            state,
            tone: match state {
                "delivered" => "good",
                "dead" => "bad",
                "held" => "warn",
                _ => "busy",
            },
            attempts: delivery.attempts,
            made: Moment::new(view.made_at, now),
            due: is_pending.then(|| Moment::new(delivery.due_at, now)),
            ended: delivery.ended_at.map(|at| Moment::new(at, now)),
            last_error: delivery.last_error.clone(),
            failed: Vec::new(),
            submission_id: view.submission_id.to_string(),
            is_disabled: view.endpoint_disabled,
        }
    }

    /// Whether it can be sent again.
    pub fn can_be_retried(&self) -> bool {
        self.state != "delivered"
    }
}

pub async fn of_task(
    state: &InternalState,
    view: &TaskView,
    now: Timestamp,
) -> Result<Vec<ShownDelivery>, StoreError> {
    let filter = DeliveryFilter {
        task: Some(TaskName::Submission(view.record.task.submission_id)),
        ..DeliveryFilter::default()
    };
    let page = state.store.list_deliveries(&filter, DELIVERIES_MAX).await?;
    let mut shown = Vec::new();
    for view in &page.deliveries {
        let mut delivery = ShownDelivery::new(view, now);
        if view.delivery.attempts > 0 {
            let failed = state.store.list_failed_attempts(view.delivery.id).await?;
            let attempt = |attempt: crate::store::deliveries::FailedAttempt| Attempt {
                number: attempt.number,
                at: Moment::new(attempt.at, now),
                status: attempt.status,
                error: attempt.error,
            };
            delivery.failed = failed.into_iter().map(attempt).collect();
        }
        shown.push(delivery);
    }
    Ok(shown)
}
