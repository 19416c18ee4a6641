//! `GET /v1/status`: what works, what is open and what is wrong, for the command `status`.
//!
//! No part waits longer than `PATIENCE`, whatever hangs. A part that is not known is `null`.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use serde::Serialize;
use serde_json::{Map, Value, json};
use tokio::time::timeout;

use super::readiness::{self, Details};
use crate::domain::delivery::{EndpointKey, ShownState};
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::task::State as TaskState;
use crate::domain::timestamp::Timestamp;
use crate::http::internal::InternalState;
use crate::observe::metrics::HourCounts;
use crate::store::deliveries::{DeliveryFilter, DisabledEndpoint};
use crate::store::read::TaskFilter;
use crate::store::{Store, StoreError};

const PATIENCE: Duration = Duration::from_secs(2);

/// The states of tasks that are open, or that need an operator.
const STATES: [TaskState; 5] = [
    TaskState::Submitting,
    TaskState::SubmitUnknown,
    TaskState::Pending,
    TaskState::Processing,
    TaskState::Unresolved,
];

/// The most submits of unknown outcome that are listed.
const UNKNOWN_MAX: u32 = 5;

/// The most endpoints that are listed.
const ENDPOINTS_MAX: usize = 20;

/// The most deliveries of an endpoint that are looked at for each state.
const DELIVERIES_MAX: u32 = 100;

/// Later than every plan, so that only what is due is overdue.
const NEVER: Timestamp = Timestamp::from_millis(i64::MAX);

/// What the process knows of itself.
#[derive(Clone, Debug)]
pub struct About {
    pub version: &'static str,
    pub started_at: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct Status {
    pub service: Service,
    /// Counted by this process since its start, for at most an hour.
    pub last_hour: HourCounts,
    /// Open tasks by state, and those that need an operator.
    pub tasks: Option<Map<String, Value>>,
    /// The task whose poll is overdue for longest.
    pub oldest_overdue: Option<Overdue>,
    /// The newest submits of unknown outcome.
    pub unknown_submits: Option<Vec<UnknownSubmit>>,
    pub endpoints: Option<Vec<EndpointStatus>>,
    pub details: Details,
}

#[derive(Debug, Serialize)]
pub struct Service {
    pub version: &'static str,
    /// The database with its version, and the number of its newest migration.
    pub database: Option<String>,
    pub started_at: Timestamp,
    pub now: Timestamp,
    pub ready: bool,
    /// Why it is not ready.
    pub reason: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct Overdue {
    pub submission_id: SubmissionId,
    pub task_id: TaskId,
    pub due_at: Timestamp,
}

#[derive(Debug, Serialize)]
pub struct UnknownSubmit {
    pub submission_id: SubmissionId,
    pub submitted_at: Timestamp,
    pub client: Option<String>,
}

#[derive(Debug, Serialize)]
pub struct EndpointStatus {
    pub name: String,
    pub disabled: bool,
    pub pending: Counted,
    pub dead: Counted,
    /// Why the newest delivery that failed did.
    pub last_error: Option<String>,
}

/// A number of deliveries, among the newest that were looked at.
#[derive(Debug, Serialize)]
pub struct Counted {
    pub count: usize,
    /// There may be more.
    pub more: bool,
}

pub async fn show(State(state): State<InternalState>) -> Json<Status> {
    Json(Box::pin(of(&state)).await)
}

/// Reads all parts at once.
pub async fn of(state: &InternalState) -> Status {
    let store = &state.store;
    let now = state.clock.now();
    let names = state.endpoints.urls.names();
    let ((reason, details), tasks, overdue, unknown, endpoints, database) = tokio::join!(
        readiness::details(state),
        known(tasks(store)),
        known(store.list_due(now, NEVER, 1)),
        known(unknown_submits(store)),
        known(endpoints(store, &names)),
        known(store.versions()),
    );
    let oldest_overdue = overdue.and_then(|due| due.tasks.into_iter().next());
    Status {
        service: Service {
            version: state.about.version,
            database,
            started_at: state.about.started_at,
            now: state.clock.wall_now(),
            ready: reason.is_none(),
            reason,
        },
        last_hour: state.metrics.last_hour(),
        tasks,
        oldest_overdue: oldest_overdue.map(|task| Overdue {
            submission_id: task.submission_id,
            task_id: task.task_id,
            due_at: task.due_at,
        }),
        unknown_submits: unknown,
        endpoints,
        details,
    }
}

/// `None` if the store does not answer in time. `details` says so.
async fn known<T>(asking: impl Future<Output = Result<T, StoreError>>) -> Option<T> {
    timeout(PATIENCE, asking).await.ok()?.ok()
}

async fn tasks(store: &Store) -> Result<Map<String, Value>, StoreError> {
    let mut counts = Map::new();
    for state in STATES {
        let count = store.count_in_state(state).await?;
        counts.insert(state.into_str().to_owned(), json!(count));
    }
    Ok(counts)
}

async fn unknown_submits(store: &Store) -> Result<Vec<UnknownSubmit>, StoreError> {
    let filter = TaskFilter {
        state: Some(TaskState::SubmitUnknown),
        ..TaskFilter::default()
    };
    let page = store.list_tasks(&filter, UNKNOWN_MAX).await?;
    let submits = page.tasks.into_iter().map(|view| UnknownSubmit {
        submission_id: view.record.task.submission_id,
        submitted_at: view.record.task.submitted_at,
        client: view.record.client,
    });
    Ok(submits.collect())
}

async fn endpoints(
    store: &Store,
    names: &[EndpointKey],
) -> Result<Vec<EndpointStatus>, StoreError> {
    let disabled = store.list_disabled_endpoints().await?;
    let mut endpoints = Vec::new();
    for name in names.iter().take(ENDPOINTS_MAX) {
        endpoints.push(endpoint(store, name, &disabled).await?);
    }
    Ok(endpoints)
}

async fn endpoint(
    store: &Store,
    name: &EndpointKey,
    disabled: &[DisabledEndpoint],
) -> Result<EndpointStatus, StoreError> {
    let mut last_error = None;
    let mut counted = [(); 3].map(|()| Counted {
        count: 0,
        more: false,
    });
    let states = [ShownState::Pending, ShownState::Held, ShownState::Dead];
    for (counted, state) in counted.iter_mut().zip(states) {
        let filter = DeliveryFilter {
            state: Some(state),
            endpoint: Some(name.clone()),
            ..DeliveryFilter::default()
        };
        let page = store.list_deliveries(&filter, DELIVERIES_MAX).await?;
        counted.count = page.deliveries.len();
        counted.more = page.next.is_some();
        let mut newest = page.deliveries.into_iter();
        let newest = newest.find_map(|view| {
            let id = view.delivery.id;
            view.delivery.last_error.map(|error| (id, error))
        });
        last_error = last_error.max(newest);
    }
    let [pending, held, dead] = counted;
    Ok(EndpointStatus {
        name: name.to_string(),
        disabled: disabled.iter().any(|endpoint| endpoint.name == *name),
        pending: Counted {
            count: pending.count + held.count,
            more: pending.more || held.more,
        },
        dead,
        last_error: last_error.map(|(_, error)| error),
    })
}
