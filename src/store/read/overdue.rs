//! The reconciler's queries: tasks that are due for a poll, submits that were interrupted, and
//! counts of tasks that may need an operator.

use std::time::Duration;

use sqlx::FromRow;

use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::task::State;
use crate::domain::task::polling::Pace;
use crate::domain::timestamp::Timestamp;
use crate::store::recorder::record::parse_id;
use crate::store::{Store, StoreError, on_pool};

/// A task that is due for a poll.
#[derive(Clone, Debug)]
pub struct DueTask {
    pub submission_id: SubmissionId,
    pub task_id: TaskId,
    /// When waiting for an outcome began: the submit, or a later claim.
    pub asked_since: Timestamp,
    pub polls: u32,
    /// Whether the task is open, or has a claimed outcome.
    pub is_waited_for: bool,
    /// Whether the task is unresolved without a claimed outcome. It is polled rarely, or because of
    /// a suspicion.
    pub is_rare: bool,
    /// The time for which the poll was planned.
    pub due_at: Timestamp,
}

/// The tasks that are due, and why rows among them cannot be read.
#[derive(Debug, Default)]
pub struct Due {
    pub tasks: Vec<DueTask>,
    pub unreadable: Vec<StoreError>,
}

/// The limit of rows that a scan passes over because they cannot be read.
const UNREADABLE_MAX: u32 = 1024;

impl DueTask {
    /// Returns whether the task was waited for and polled for long enough. `running` is how long
    /// this process has run.
    pub fn has_had_its_time(&self, pace: &Pace, running: Duration, now: Timestamp) -> bool {
        self.is_waited_for
            && pace.is_long_ago(self.asked_since, now)
            && pace.has_asked_enough(self.polls, running)
    }
}

// The conditions on state are those of two partial indexes, word for word.
const DUE: &str =
    "SELECT seq, submission_id, task_id, state, submitted_at, claimed_at, polls, next_poll_at
    FROM task
    WHERE next_poll_at <= $1 AND (state <> 'unresolved' OR claimed IS NOT NULL)
    ORDER BY next_poll_at LIMIT $2";

const DUE_BEYOND: &str =
    "SELECT seq, submission_id, task_id, state, submitted_at, claimed_at, polls, next_poll_at
    FROM task
    WHERE next_poll_at > $1 AND (state <> 'unresolved' OR claimed IS NOT NULL)
    ORDER BY next_poll_at LIMIT $2";

const RARELY_DUE: &str =
    "SELECT seq, submission_id, task_id, state, submitted_at, claimed_at, polls, next_poll_at
    FROM task
    WHERE next_poll_at <= $1 AND state = 'unresolved' AND claimed IS NULL
    ORDER BY next_poll_at LIMIT $2";

const RARELY_DUE_BEYOND: &str =
    "SELECT seq, submission_id, task_id, state, submitted_at, claimed_at, polls, next_poll_at
    FROM task
    WHERE next_poll_at > $1 AND state = 'unresolved' AND claimed IS NULL
    ORDER BY next_poll_at LIMIT $2";

const UNANSWERED: &str = "SELECT seq, submission_id FROM task
    WHERE (state, submission_id) >= ('submitting', '') AND (state, submission_id) < ('submitting', $1)
        AND state <> 'completed' ORDER BY state, submission_id LIMIT $2";

// No id begins with a `g`.
const UNANSWERED_BEYOND: &str = "SELECT seq, submission_id FROM task
    WHERE (state, submission_id) > ('submitting', $1) AND (state, submission_id) < ('submitting', 'g')
        AND state <> 'completed' ORDER BY state, submission_id LIMIT $2";

// The `LIMIT` is inside, so that the count is bounded too.
const COUNT: &str = "SELECT count(*) FROM (SELECT 1 FROM task WHERE state = $1 AND state <> 'completed' LIMIT $2) AS counted";

/// The highest count of tasks in one state. More tasks are counted as this number, which is enough
/// to raise an alarm.
pub const COUNTED_MAX: u32 = 10_000;

/// Each statement here, with the PostgreSQL types of its parameters. An index answers all of them.
pub const STATEMENTS: [(&str, &str); 7] = [
    (DUE, "bigint, bigint"),
    (DUE_BEYOND, "bigint, bigint"),
    (RARELY_DUE, "bigint, bigint"),
    (RARELY_DUE_BEYOND, "bigint, bigint"),
    (UNANSWERED, "text, bigint"),
    (UNANSWERED_BEYOND, "text, bigint"),
    (COUNT, "text, bigint"),
];

impl Store {
    /// Lists tasks that are due for a poll at `now`, the longest overdue first. Then come tasks
    /// scheduled beyond `horizon`, by a process whose clock was far ahead. Unresolved tasks are
    /// left out, however many there are.
    pub async fn list_due(
        &self,
        now: Timestamp,
        horizon: Timestamp,
        limit: u32,
    ) -> Result<Due, StoreError> {
        self.due([(DUE, now), (DUE_BEYOND, horizon)], limit).await
    }

    /// Lists due unresolved tasks, in the same order.
    pub async fn list_rarely_due(
        &self,
        now: Timestamp,
        horizon: Timestamp,
        limit: u32,
    ) -> Result<Due, StoreError> {
        let statements = [(RARELY_DUE, now), (RARELY_DUE_BEYOND, horizon)];
        self.due(statements, limit).await
    }

    /// An impossible row is judged alone: the due tasks behind it are found too.
    async fn due(
        &self,
        statements: [(&'static str, Timestamp); 2],
        limit: u32,
    ) -> Result<Due, StoreError> {
        let mut due = Due::default();
        for (statement, time) in statements {
            let room = (limit as usize).saturating_sub(due.tasks.len());
            let mut asked = u32::try_from(room).unwrap_or(limit);
            while asked > 0 {
                let rows: Vec<DueRow> = on_pool!(self, pool => sqlx::query_as(statement)
                    .bind(time.as_millis())
                    .bind(i64::from(asked))
                    .fetch_all(pool))?;
                let is_all = rows.len() < asked as usize;
                let (tasks, unreadable) = sorted(rows, room);
                if is_all || tasks.len() == room || asked >= UNREADABLE_MAX {
                    due.tasks.extend(tasks);
                    due.unreadable.extend(unreadable);
                    break;
                }
                asked = (asked * 2).min(UNREADABLE_MAX);
            }
        }
        Ok(due)
    }

    /// Lists submits whose answer should have come before `before` and was never recorded, because
    /// the sending process was interrupted. Also lists those made after `beyond`, which were sent
    /// by a process whose clock was far ahead.
    pub async fn list_unanswered(
        &self,
        before: Timestamp,
        beyond: Timestamp,
        limit: u32,
    ) -> Result<Vec<SubmissionId>, StoreError> {
        let mut rows: Vec<(i64, String)> = Vec::new();
        for (statement, time) in [(UNANSWERED, before), (UNANSWERED_BEYOND, beyond)] {
            let found: Vec<(i64, String)> = on_pool!(self, pool => sqlx::query_as(statement)
                .bind(SubmissionId::first_at(time).to_string())
                .bind(i64::from(limit))
                .fetch_all(pool))?;
            rows.extend(found);
        }
        // A row with an impossible id is no submit of ours, and must not stop the others.
        Ok(rows
            .into_iter()
            .filter_map(|row| parse_id(row).ok())
            .collect())
    }

    /// Counts the tasks in `state`, up to `COUNTED_MAX`. Not for `Completed`, which has no index.
    pub async fn count_in_state(&self, state: State) -> Result<i64, StoreError> {
        let count: i64 = on_pool!(self, pool => sqlx::query_scalar(COUNT)
            .bind(state.into_str())
            .bind(i64::from(COUNTED_MAX))
            .fetch_one(pool))?;
        Ok(count)
    }
}

/// Returns the first `limit` tasks of `rows`, and the errors of those that cannot be read.
fn sorted(rows: Vec<DueRow>, limit: usize) -> (Vec<DueTask>, Vec<StoreError>) {
    let (mut tasks, mut unreadable) = (Vec::new(), Vec::new());
    for row in rows {
        match DueTask::try_from(row) {
            Ok(task) if tasks.len() < limit => tasks.push(task),
            Ok(_) => {}
            Err(error) => unreadable.push(error),
        }
    }
    (tasks, unreadable)
}

#[derive(FromRow)]
struct DueRow {
    seq: i64,
    submission_id: String,
    task_id: String,
    state: String,
    submitted_at: i64,
    claimed_at: Option<i64>,
    polls: i64,
    next_poll_at: i64,
}

impl TryFrom<DueRow> for DueTask {
    type Error = StoreError;

    fn try_from(row: DueRow) -> Result<Self, StoreError> {
        let corrupt = |column| StoreError::Corrupt {
            table: "task",
            id: row.seq,
            column,
        };
        let state = row.state.parse().map_err(|_| corrupt("state"))?;
        let is_open = matches!(state, State::Pending | State::Processing);
        Ok(Self {
            is_waited_for: is_open || row.claimed_at.is_some(),
            is_rare: state == State::Unresolved && row.claimed_at.is_none(),
            submission_id: row
                .submission_id
                .parse()
                .map_err(|_| corrupt("submission_id"))?,
            task_id: TaskId::parse(&row.task_id).ok_or_else(|| corrupt("task_id"))?,
            asked_since: Timestamp::from_millis(
                row.submitted_at.max(row.claimed_at.unwrap_or(i64::MIN)),
            ),
            due_at: Timestamp::from_millis(row.next_poll_at),
            polls: u32::try_from(row.polls).map_err(|_| corrupt("polls"))?,
        })
    }
}
