//! The records that a simulator shows to tests and operators: what it received and what it sent.

use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::task::Task;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Every `POST /v1/images/generations`, refused ones included.
    pub submits: u64,
    /// Accepted submits. Each reserved its price, whatever its response was.
    pub charges: u64,
    /// Charges refunded because the task failed or was cancelled.
    pub refunds: u64,
    /// Submits answered with the stored response for their `Idempotency-Key`.
    pub replays: u64,
    pub tasks_running: u64,
    /// Queries of tasks, refused ones included.
    pub polls: u64,
    /// Attempts to deliver callbacks; one delivery may take several.
    pub callbacks_sent: u64,
    pub callbacks_acknowledged: u64,
    /// Deliveries whose last attempt failed.
    pub callbacks_given_up: u64,
    /// Fetches of result files, refused ones included.
    pub file_fetches: u64,
}

/// One submit as it was received.
#[derive(Clone, Debug, Serialize)]
pub struct SubmitSeen {
    pub at: jiff::Timestamp,
    /// Contains the bearer token, so it is not serialised for other processes.
    #[serde(skip)]
    pub headers: HeaderMap,
    pub idempotency_key: Option<String>,
    /// `null` if the body was not JSON.
    pub body: Value,
}

#[derive(Clone, Debug, Serialize)]
pub struct TaskSeen {
    pub id: String,
    pub prompt: String,
    pub callback_url: Option<String>,
    pub queries: u32,
    pub file_fetches: u32,
    /// The names of the misbehaviours drawn and requested. A later one may have undone an earlier
    /// one.
    pub misbehaviours: Vec<&'static str>,
    /// The body that a query would return if it had no fault.
    pub body: Value,
}

/// One query of a task.
#[derive(Clone, Debug, Serialize)]
pub struct QuerySeen {
    pub at: jiff::Timestamp,
    pub task_id: String,
    /// The status of the response.
    pub status: u16,
}

/// One attempt to deliver one callback.
#[derive(Clone, Debug, Serialize)]
pub struct CallbackAttempt {
    pub at: jiff::Timestamp,
    pub task_id: String,
    /// The number of the callback within its task, from 1.
    pub delivery: u32,
    /// The number of the attempt within its callback, from 1.
    pub attempt: u32,
    /// The status of the response, if there was one.
    pub status: Option<u16>,
    /// The reason why there was no response.
    pub error: Option<String>,
    pub elapsed_ms: u64,
}

impl CallbackAttempt {
    #[must_use]
    pub fn is_acknowledged(&self) -> bool {
        self.status
            .is_some_and(|status| (200..300).contains(&status))
    }
}

impl TaskSeen {
    pub(super) fn of(task: &Task, public_url: &str) -> Self {
        let callback_url = task.generation.callback_url.as_ref();
        Self {
            id: task.id.clone(),
            prompt: task.generation.prompt.clone(),
            callback_url: callback_url.map(ToString::to_string),
            queries: task.queries,
            file_fetches: task.file_fetches,
            misbehaviours: task.plan.misbehaviours.clone(),
            body: task.body(public_url),
        }
    }
}
