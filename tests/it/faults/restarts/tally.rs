//! Compares what was sent with what is recorded.

use std::collections::{BTreeMap, HashSet};
use std::fmt;

use evolink_receiver::simulator::{CallbackAttempt, Simulator, TaskSeen};

use crate::support::process::Place;

/// Tasks whose callback was acknowledged or given up.
pub fn over(attempts: &[CallbackAttempt]) -> HashSet<&str> {
    let over = attempts
        .iter()
        .filter(|attempt| attempt.is_acknowledged() || attempt.attempt == 4);
    over.map(|attempt| attempt.task_id.as_str()).collect()
}

#[derive(Default)]
pub struct Tally {
    pub tasks: usize,
    pub charges: u64,
    pub by_callback: usize,
    pub by_poll: usize,
    pub by_submit: usize,
    /// Callbacks whose four tries all fell into outages.
    pub callbacks_lost: usize,
    /// Tasks that also lost the answer to their submit. They are shown as unknown, which is all
    /// that the receiver can know.
    pub unknowable: usize,
    pub wrong: Vec<String>,
}

impl Tally {
    pub async fn of(place: &Place, simulator: &Simulator) -> Self {
        let (attempts, tasks) = (simulator.callback_attempts(), simulator.tasks());
        let told = attempts.iter().filter(|attempt| attempt.is_acknowledged());
        let told: HashSet<&str> = told.map(|attempt| attempt.task_id.as_str()).collect();
        let mut tally = Self {
            tasks: tasks.len(),
            charges: simulator.stats().charges,
            callbacks_lost: tasks.len() - told.len(),
            ..Self::default()
        };
        let database = place.store().connect().await;
        let rows: Vec<(String, String, String)> = database
            .rows(
                "SELECT submission_id, state, coalesce(source, '') FROM task",
                &[],
            )
            .await;
        let records: BTreeMap<&str, (&str, &str)> = rows
            .iter()
            .map(|(id, state, source)| (id.as_str(), (state.as_str(), source.as_str())))
            .collect();
        let sql = "SELECT DISTINCT submission_id FROM task JOIN observation ON observation.id / 1024 = task.seq
            WHERE observation.source = 'callback'";
        let kept: Vec<String> = database.values(sql, &[]).await;
        let kept: HashSet<&str> = kept.iter().map(String::as_str).collect();
        let mut prompts = HashSet::new();
        for task in &tasks {
            if !prompts.insert(&task.prompt) {
                tally.wrong.push(format!("{} was paid twice", task.prompt));
            }
            if told.contains(task.id.as_str()) && !kept.contains(submission_of(task)) {
                tally.wrong.push(format!(
                    "a callback that was answered 2xx is lost: {task:?}"
                ));
            }
            let record = records.get(submission_of(task));
            match record {
                Some(("completed", "callback")) => tally.by_callback += 1,
                Some(("completed", "poll")) => tally.by_poll += 1,
                Some(("completed", "submit")) => tally.by_submit += 1,
                Some(("submitting" | "submit_unknown", _)) if !told.contains(task.id.as_str()) => {
                    tally.unknowable += 1;
                }
                other => tally.wrong.push(format!("{other:?}: {task:?}")),
            }
        }
        if tally.charges != tasks.len() as u64 {
            tally.wrong.push(format!("{} charges", tally.charges));
        }
        database.close().await;
        tally
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            tasks,
            charges,
            by_callback,
            by_poll,
            by_submit,
            ..
        } = self;
        let Self {
            callbacks_lost,
            unknowable,
            wrong,
            ..
        } = self;
        write!(
            f,
            "{tasks} tasks, {charges} charges; outcomes by callback {by_callback}, poll {by_poll}, submit {by_submit}; "
        )?;
        write!(
            f,
            "callbacks lost to outages {callbacks_lost}, unknowable {unknowable}, wrong {}",
            wrong.len()
        )
    }
}

/// The submission that the task's callback URL belongs to.
fn submission_of(task: &TaskSeen) -> &str {
    let token = task.callback_url.as_deref().unwrap().rsplit('/').next();
    token.unwrap().split('.').nth(1).unwrap()
}
