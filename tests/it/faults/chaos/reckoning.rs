//! Compares what the receivers report in the end with what the simulator knows it did.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;

use evolink_receiver::simulator::TaskSeen;
use serde_json::Value;

use super::orders::{Book, End};
use super::stage::Stage;
use super::witness::all_tasks;

/// Faults in which the answer to the submit names no task. Unless a callback arrives, the task id
/// is unknown.
const UNREADABLE: [&str; 10] = [
    "reset",
    "stall",
    "bad-gateway",
    "gateway-timeout",
    "request-timeout",
    "accepted-500",
    "garbage",
    "no-id",
    "number-id",
    "truncated-answer",
];

/// Faults in which the final callback does not report the outcome, or reports it late, so that a
/// poll has to find it.
const UNTOLD: [&str; 11] = [
    "lost-callback",
    "callback-not-json",
    "callback-array",
    "callback-no-id",
    "callback-no-status",
    "callback-wrong-id",
    "callback-unknown-status",
    "callback-no-results",
    "callback-huge",
    "callback-encoded",
    "no-results",
];

const QUERY_FAULTS: [&str; 8] = [
    "query-403",
    "query-404",
    "query-410",
    "query-429",
    "query-500",
    "query-garbage",
    "query-wrong-id",
    "query-stall",
];

#[derive(Default)]
pub struct Reckoning {
    pub faults: Vec<String>,
    tasks: usize,
    charges: u64,
    /// The number of tasks in each state, as the receiver reports it.
    states: BTreeMap<String, usize>,
    /// The number of outcomes by the source that found them first.
    sources: BTreeMap<String, usize>,
    /// Tasks whose id the receiver cannot learn, because EvoLink's answer and its callbacks are
    /// lost.
    unknowable: usize,
    /// Tasks whose outcome the test cannot predict, because EvoLink lies about it or does not
    /// answer queries.
    unasserted: usize,
    statuses: BTreeMap<u16, usize>,
    callbacks: BTreeMap<Option<u16>, usize>,
}

impl Reckoning {
    pub async fn of(stage: &Stage, book: &Book) -> Self {
        let mut this = Self {
            charges: stage.simulator.stats().charges,
            statuses: book.statuses.lock().unwrap().clone(),
            ..Self::default()
        };
        let mut told = HashSet::new();
        for attempt in stage.simulator.callback_attempts() {
            *this.callbacks.entry(attempt.status).or_default() += 1;
            if attempt.is_acknowledged() {
                told.insert(attempt.task_id);
            }
        }
        let records: HashMap<String, Value> = all_tasks(&stage.apps[0])
            .await
            .into_iter()
            .map(|task| (submission_of(&task), task))
            .collect();
        let tasks = stage.simulator.tasks();
        this.tasks = tasks.len();
        this.reckon_charges(&tasks, &stage.simulator.submits());
        for task in &tasks {
            this.reckon_task(task, &records, told.contains(&task.id));
        }
        this.reckon_orders(&tasks, book);
        for status in this.callbacks.keys().flatten() {
            if ![200, 400, 409, 413, 415, 503].contains(status) {
                this.faults
                    .push(format!("a callback was answered {status}"));
            }
        }
        this
    }

    /// Checks that the number of charges equals the number of tasks, and that no order was charged
    /// twice.
    fn reckon_charges(
        &mut self,
        tasks: &[TaskSeen],
        submits: &[evolink_receiver::simulator::SubmitSeen],
    ) {
        if self.charges != tasks.len() as u64 {
            self.faults
                .push(format!("{} charges, {} tasks", self.charges, tasks.len()));
        }
        let mut prompts = HashSet::new();
        for task in tasks {
            if !prompts.insert(&task.prompt) {
                self.faults
                    .push(format!("{} was charged twice", task.prompt));
            }
        }
        let mut keys = HashSet::new();
        for submit in submits {
            if !keys.insert(&submit.idempotency_key) {
                self.faults
                    .push(format!("{:?} was sent twice", submit.idempotency_key));
            }
        }
    }

    fn reckon_task(&mut self, task: &TaskSeen, records: &HashMap<String, Value>, is_told: bool) {
        let submission_id = token_subject(task);
        let Some(record) = records.get(&submission_id) else {
            return self.faults.push(format!("{} has no record", task.id));
        };
        let state = record["receiver"]["state"].as_str().unwrap();
        *self.states.entry(state.to_owned()).or_default() += 1;
        if let Some(source) = record["receiver"]["source"].as_str()
            && !record["receiver"]["outcome_at"].is_null()
        {
            *self.sources.entry(source.to_owned()).or_default() += 1;
        }
        let has = |names: &[&str]| task.misbehaviours.iter().any(|name| names.contains(name));
        let is_bound = record["id"] == task.id.as_str();
        let is_right = match state {
            "submit_unknown" => {
                self.unknowable += 1;
                has(&UNREADABLE) && !is_told || has(&["callback-wrong-id"])
            }
            // The first message about this submission named another task.
            _ if !is_bound => {
                self.unknowable += 1;
                has(&["callback-wrong-id"])
            }
            // A different outcome was reported before the one that counts.
            _ if has(&["conflicting"]) && has(&UNTOLD) => {
                self.unasserted += 1;
                true
            }
            "pending" | "processing" | "unresolved" => {
                let is_silent = has(&QUERY_FAULTS) && !has(&["query-faults"]) && has(&UNTOLD);
                self.unasserted += usize::from(is_silent);
                has(&["never-ends"]) || is_silent
            }
            _ => same_outcome(record, &task.body),
        };
        if !is_right {
            self.faults.push(format!(
                "{:?} was told: {is_told}; EvoLink: {}; we: {record}",
                task.misbehaviours, task.body
            ));
        }
    }

    /// Checks every answer that an app received.
    fn reckon_orders(&mut self, tasks: &[TaskSeen], book: &Book) {
        let by_prompt: HashMap<&str, String> = tasks
            .iter()
            .map(|task| (task.prompt.as_str(), token_subject(task)))
            .collect();
        for (prompt, end) in book.ends.lock().unwrap().iter() {
            let accepted = by_prompt.get(prompt.as_str());
            let is_right = match end {
                End::Accepted(told) => told
                    .iter()
                    .all(|task| Some(&submission_of(task)) == accepted),
                End::Refused => accepted.is_none(),
                End::Unknown => true,
            };
            if !is_right {
                self.faults.push(format!(
                    "{prompt} is {accepted:?}, and the app thinks {end:?}"
                ));
            }
        }
    }
}

fn submission_of(task: &Value) -> String {
    task["receiver"]["submission_id"]
        .as_str()
        .unwrap()
        .to_owned()
}

/// The submission that the task's callback URL belongs to.
fn token_subject(task: &TaskSeen) -> String {
    let url = task.callback_url.as_deref().unwrap();
    let token = url.rsplit('/').next().unwrap();
    token.split('.').nth(1).unwrap().to_owned()
}

/// Whether the record shows what a query would return: the same status and results, ignoring URL
/// signatures.
fn same_outcome(record: &Value, evolinks: &Value) -> bool {
    let status = match evolinks["status"].as_str().unwrap() {
        "canceled" => "cancelled",
        status => status,
    };
    let urls = |task: &Value| -> Vec<String> {
        let results = task["results"].as_array().cloned().unwrap_or_default();
        let urls = results.iter().filter_map(Value::as_str);
        urls.map(|url| url.split('?').next().unwrap().to_owned())
            .collect()
    };
    record["receiver"]["state"] == status && urls(record) == urls(evolinks)
}

impl fmt::Display for Reckoning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tasks,
            charges,
            states,
            sources,
            ..
        } = self;
        let Self {
            unknowable,
            unasserted,
            statuses,
            callbacks,
            ..
        } = self;
        write!(
            f,
            "{tasks} tasks, {charges} charges; records {states:?}, outcomes by {sources:?}; "
        )?;
        write!(
            f,
            "{unknowable} not to be known, {unasserted} not asserted; "
        )?;
        write!(f, "submits answered {statuses:?}, callbacks {callbacks:?}")
    }
}
