//! Everything that a running simulator remembers: the tasks, the account, and logs of what it
//! received and sent. All of it is bounded. One lock guards it and is never held across an await.
//! The whole decision about a submit is made under one acquisition of that lock.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::options::Options;
use super::plan::{Plan, Refusal};
use super::records::{CallbackAttempt, QuerySeen, Stats, SubmitSeen, TaskSeen};
use super::server::CONNECTIONS_MAX;
use super::task::{self, Task, credits};
use crate::simulator::api::error::ApiError;
use crate::simulator::api::request::Generation;

pub(super) struct Shared {
    pub options: Options,
    /// Has no trailing slash.
    pub public_url: String,
    pub client: reqwest::Client,
    pub stop: CancellationToken,
    pub workers: TaskTracker,
    remembered: Mutex<Remembered>,
}

#[derive(Default)]
pub(super) struct Remembered {
    tasks: HashMap<String, Task>,
    task_order: VecDeque<String>,
    account: Account,
    /// How often each prompt was submitted, by the hash of the prompt.
    submits_of_prompt: HashMap<[u8; 32], u32>,
    replays: HashMap<String, Replay>,
    pub submits: VecDeque<SubmitSeen>,
    pub queries: VecDeque<QuerySeen>,
    pub attempts: VecDeque<CallbackAttempt>,
    pub stats: Stats,
}

#[derive(Default)]
struct Account {
    remaining_milli: u64,
    used_milli: u64,
}

struct Replay {
    body_hash: [u8; 32],
    answer: Value,
}

pub(super) enum Accepted {
    New(Box<Task>),
    Replayed(Value),
}

impl Shared {
    pub(super) fn new(options: Options, public_url: String, client: reqwest::Client) -> Self {
        let account = Account {
            remaining_milli: options.credits_milli,
            used_milli: 0,
        };
        let remembered = Remembered {
            account,
            ..Remembered::default()
        };
        Self {
            options,
            public_url,
            client,
            stop: CancellationToken::new(),
            workers: TaskTracker::new(),
            remembered: Mutex::new(remembered),
        }
    }

    /// Locks the records. Ignores poisoning: they are plain data, and a panic leaves none of them
    /// half-written.
    pub(super) fn remembered(&self) -> MutexGuard<'_, Remembered> {
        self.remembered
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides about one valid submit. A task that this returns has been charged.
    pub(super) fn accept(
        &self,
        generation: Generation,
        idempotency_key: Option<&str>,
        raw_body: &[u8],
        created: i64,
    ) -> Result<Accepted, ApiError> {
        let mut remembered = self.remembered();
        let body_hash: [u8; 32] = Sha256::digest(raw_body).into();
        if let Some(replay) = idempotency_key.and_then(|key| remembered.replays.get(key)) {
            if replay.body_hash != body_hash {
                return Err(ApiError::idempotency_conflict());
            }
            let answer = replay.answer.clone();
            remembered.stats.replays += 1;
            return Ok(Accepted::Replayed(answer));
        }
        let earlier_submits =
            remembered.count_submit_of_prompt(&generation.prompt, self.options.tasks_max);
        let plan = Plan::draw(&generation.prompt, earlier_submits, &self.options.faults)
            .map_err(|bad| ApiError::invalid("prompt", &bad.to_string()))?;
        if let Some(refusal) = plan.refusal {
            return Err(ApiError::refused(refusal).with_integer_code(plan.integer_codes));
        }
        let tasks_max = self.options.tasks_max;
        // An ended task still counts here while its callbacks wait. Each worker is a task or a
        // connection.
        if remembered.stats.tasks_running >= tasks_max as u64
            || self.workers.len() >= tasks_max + CONNECTIONS_MAX
        {
            return Err(ApiError::refused(Refusal::Unavailable));
        }
        remembered.reserve(self.options.price_milli)?;
        let task = self.new_task(generation, plan, created);
        remembered.remember_task(task.clone(), self.options.tasks_max);
        if let Some(key) = idempotency_key {
            let answer = task.submit_answer();
            bound_map(&mut remembered.replays, self.options.tasks_max);
            remembered
                .replays
                .insert(key.to_owned(), Replay { body_hash, answer });
        }
        Ok(Accepted::New(Box::new(task)))
    }

    fn new_task(&self, generation: Generation, plan: Plan, created: i64) -> Task {
        Task {
            id: task::new_id(created),
            created,
            seed: generation.seed.unwrap_or_else(|| fastrand::u32(1..)),
            generation,
            duration: plan.duration.unwrap_or(self.options.task_duration),
            plan,
            started: Instant::now(),
            ended: None,
            price_milli: self.options.price_milli,
            estimated_time_s: self.options.estimated_time_s,
            has_first_track: false,
            queries: 0,
            file_fetches: 0,
        }
    }

    /// Ends the task and settles its price, because EvoLink confirms the billing before it sends
    /// any callback. A second call does nothing.
    pub(super) fn end_task(&self, id: &str) {
        let mut remembered = self.remembered();
        let Some(task) = remembered.tasks.get_mut(id) else {
            return;
        };
        if task.ended.is_some() {
            return;
        }
        task.ended = Some(Instant::now());
        let (price_milli, is_charged) = (task.price_milli, task.plan.ending.is_charged());
        remembered.settle(price_milli, is_charged);
    }

    pub(super) fn with_task<T>(&self, id: &str, read: impl FnOnce(&mut Task) -> T) -> Option<T> {
        self.remembered().tasks.get_mut(id).map(read)
    }

    pub(super) fn record_submit(&self, submit: SubmitSeen) {
        let mut remembered = self.remembered();
        remembered.stats.submits += 1;
        push_bounded(&mut remembered.submits, submit, self.options.log_max);
    }

    pub(super) fn record_query(&self, query: QuerySeen) {
        let mut remembered = self.remembered();
        remembered.stats.polls += 1;
        push_bounded(&mut remembered.queries, query, self.options.log_max);
    }

    pub(super) fn record_attempt(&self, attempt: CallbackAttempt) {
        let mut remembered = self.remembered();
        remembered.stats.callbacks_sent += 1;
        remembered.stats.callbacks_acknowledged += u64::from(attempt.is_acknowledged());
        push_bounded(&mut remembered.attempts, attempt, self.options.log_max);
    }

    pub(super) fn tasks_seen(&self) -> Vec<TaskSeen> {
        let remembered = self.remembered();
        let tasks = remembered.task_order.iter();
        tasks
            .filter_map(|id| remembered.tasks.get(id))
            .map(|task| TaskSeen::of(task, &self.public_url))
            .collect()
    }

    pub(super) fn credits(&self) -> Value {
        let account = &self.remembered().account;
        let (remaining, used) = (
            credits(account.remaining_milli),
            credits(account.used_milli),
        );
        json!({
            "success": true,
            "message": "",
            "data": {
                "token": {"remaining_credits": remaining, "unlimited_credits": false, "used_credits": used},
                "user": {"remaining_credits": remaining, "used_credits": used},
            },
        })
    }
}

impl Remembered {
    fn count_submit_of_prompt(&mut self, prompt: &str, prompts_max: usize) -> u32 {
        bound_map(&mut self.submits_of_prompt, prompts_max);
        let count = self
            .submits_of_prompt
            .entry(Sha256::digest(prompt).into())
            .or_default();
        *count += 1;
        *count - 1
    }

    fn reserve(&mut self, price_milli: u64) -> Result<(), ApiError> {
        let remaining = self.account.remaining_milli.checked_sub(price_milli);
        self.account.remaining_milli = remaining.ok_or_else(ApiError::insufficient_quota)?;
        self.stats.charges += 1;
        self.stats.tasks_running += 1;
        Ok(())
    }

    fn settle(&mut self, price_milli: u64, is_charged: bool) {
        self.stats.tasks_running -= 1;
        if is_charged {
            self.account.used_milli += price_milli;
        } else {
            self.account.remaining_milli += price_milli;
            self.stats.refunds += 1;
        }
    }

    fn remember_task(&mut self, task: Task, tasks_max: usize) {
        self.task_order.push_back(task.id.clone());
        self.tasks.insert(task.id.clone(), task);
        while self.task_order.len() > tasks_max {
            let oldest = self.task_order.pop_front();
            let forgotten = oldest.and_then(|id| self.tasks.remove(&id));
            let was_running = forgotten.is_some_and(|task| task.ended.is_none());
            self.stats.tasks_running -= u64::from(was_running);
        }
    }
}

fn push_bounded<T>(log: &mut VecDeque<T>, entry: T, log_max: usize) {
    log.push_back(entry);
    while log.len() > log_max {
        log.pop_front();
    }
}

/// Clears the whole map when it is full. That is crude, but it takes a hundred thousand different
/// keys to get here.
fn bound_map<K, V>(map: &mut HashMap<K, V>, entries_max: usize) {
    if map.len() >= entries_max {
        map.clear();
    }
}
