//! The data about each prompt while the demo runs. All of it comes from the internal API.

use serde_json::Value;

use super::prompts::Prompt;
use crate::commands::api::{is_terminal, outcome_after_ms, seconds, text};

/// One prompt and its result.
#[derive(Debug)]
pub struct Row {
    pub prompt: Prompt,
    /// `None` until its submit was answered.
    pub submission_id: Option<String>,
    /// EvoLink's id, or our own until EvoLink's is known.
    pub task_id: String,
    /// Empty until its submit was answered.
    pub state: String,
    pub source: String,
    /// The time from the submit to the outcome.
    pub outcome_after_ms: Option<i64>,
    pub result_url: Option<String>,
    pub history: History,
}

/// The numbers from the history of a task.
#[derive(Debug, Default, Clone, Copy)]
pub struct History {
    pub callbacks: usize,
    pub duplicates: usize,
    pub outcomes: usize,
    /// The first callback was recorded before the submit's answer.
    pub is_early: bool,
}

impl Row {
    pub fn new(prompt: Prompt) -> Self {
        Self {
            prompt,
            submission_id: None,
            task_id: String::new(),
            state: String::new(),
            source: String::new(),
            outcome_after_ms: None,
            result_url: None,
            history: History::default(),
        }
    }

    pub fn is_terminal(&self) -> bool {
        is_terminal(&self.state)
    }

    /// Formats the time to the outcome, for people. Empty before the outcome.
    pub fn outcome_after(&self) -> String {
        self.outcome_after_ms.map_or_else(String::new, seconds)
    }

    /// Updates the row from a task object. Returns true if the state has changed.
    pub fn see(&mut self, task: &Value) -> bool {
        let own = |pointer| text(task, pointer).unwrap_or_default().to_owned();
        let state = own("/receiver/state");
        let is_new = state != self.state;
        self.submission_id = text(task, "/receiver/submission_id").map(str::to_owned);
        self.task_id = own("/id");
        self.state = state;
        self.source = own("/receiver/source");
        self.result_url = text(task, "/receiver/results/0/url").map(str::to_owned);
        self.outcome_after_ms = outcome_after_ms(task);
        is_new
    }
}

impl History {
    /// Counts the items of `GET /v1/tasks/{id}/events`.
    pub fn of(items: &[Value]) -> Self {
        let observations = items
            .iter()
            .filter(|item| text(item, "/type") == Some("observation"));
        let mut observations: Vec<&Value> = observations.collect();
        observations.sort_by_key(|item| item["n"].as_u64());
        let position_of = |source| {
            observations
                .iter()
                .position(|item| text(item, "/source") == Some(source))
        };
        let callbacks = observations
            .iter()
            .filter(|item| text(item, "/source") == Some("callback"));
        let duplicates = callbacks
            .clone()
            .filter(|item| text(item, "/result") == Some("duplicate"));
        let outcomes = items
            .iter()
            .filter_map(|item| text(item, "/type")?.strip_prefix("task."))
            .filter(|kind| is_terminal(kind));
        let is_early = position_of("callback")
            .zip(position_of("submit"))
            .is_some_and(|(callback, submit)| callback < submit);
        Self {
            callbacks: callbacks.count(),
            duplicates: duplicates.count(),
            outcomes: outcomes.count(),
            is_early,
        }
    }
}
