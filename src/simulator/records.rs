//! What a simulator tells tests and operators about what it saw and did.

use http::HeaderMap;
use serde::Serialize;
use serde_json::Value;

use super::task::Task;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Every `POST /v1/images/generations`, refused ones included.
    pub submits: u64,
    /// Accepted submits: each reserved its price, whatever its answer was.
    pub charges: u64,
    /// Charges given back because the task failed or was cancelled.
    pub refunds: u64,
    /// Submits answered from an `Idempotency-Key`.
    pub replays: u64,
    pub tasks_running: u64,
    /// Queries of tasks, refused ones included.
    pub polls: u64,
    /// Attempts, not deliveries.
    pub callbacks_sent: u64,
    pub callbacks_acknowledged: u64,
    /// Deliveries whose last attempt failed.
    pub callbacks_given_up: u64,
    /// Fetches of result files, refused ones included.
    pub file_fetches: u64,
}

/// One submit as it arrived.
#[derive(Clone, Debug, Serialize)]
pub struct SubmitSeen {
    pub at: jiff::Timestamp,
    /// Holds the bearer token, so it is not shown to other processes.
    #[serde(skip)]
    pub headers: HeaderMap,
    pub idempotency_key: Option<String>,
    /// `null` if it was not JSON.
    pub body: Value,
}

#[derive(Clone, Debug, Serialize)]
pub struct TaskSeen {
    pub id: String,
    pub prompt: String,
    pub callback_url: Option<String>,
    pub queries: u32,
    pub file_fetches: u32,
    /// What it was drawn and asked to do wrong. A later one may have undone an earlier one.
    pub misbehaviours: Vec<&'static str>,
    /// What a query would answer, faults aside.
    pub body: Value,
}

/// One query of a task.
#[derive(Clone, Debug, Serialize)]
pub struct QuerySeen {
    pub at: jiff::Timestamp,
    pub task_id: String,
    /// The status it was answered with.
    pub status: u16,
}

/// One attempt to deliver one callback.
#[derive(Clone, Debug, Serialize)]
pub struct CallbackAttempt {
    pub at: jiff::Timestamp,
    pub task_id: String,
    /// Which callback of the task, from 1.
    pub delivery: u32,
    /// Which attempt of that callback, from 1.
    pub attempt: u32,
    /// The status of the answer.
    pub status: Option<u16>,
    /// Why there was no answer.
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
