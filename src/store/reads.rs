//! What can be asked of the store. Read-only connections: a question never writes.

use bytes::Bytes;
use sqlx::{FromRow, Row as _};

use super::record::{OBSERVATIONS_PER_TASK, Record, RecordRow, record_columns};
use super::{Store, StoreError};
use crate::domain::event::EventType;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::observation::Source;
use crate::domain::task::State;
use crate::domain::timestamp::Timestamp;

/// Observations and events of one task that are shown at most; both are bounded below it.
const HISTORY_MAX: i64 = 2048;

/// A record with the body that is shown for it: EvoLink's last word, or nothing if it has not spoken.
#[derive(Clone, Debug)]
pub struct TaskView {
    pub record: Record,
    pub body: Option<Bytes>,
}

/// Either name of a task.
#[derive(Clone, Debug)]
pub enum TaskName {
    Task(TaskId),
    Submission(SubmissionId),
}

/// Which tasks to list. Absent means all.
#[derive(Clone, Debug, Default)]
pub struct TaskFilter {
    pub state: Option<State>,
    pub client: Option<String>,
    /// Submitted later than this.
    pub created_after: Option<Timestamp>,
    /// Recorded earlier than this; the `seq` of the last task of the page before.
    pub before_seq: Option<i64>,
}

/// One event, or one observation that led to none.
#[derive(Clone, Debug)]
pub struct HistoryItem {
    pub at: Timestamp,
    pub kind: HistoryKind,
}

#[derive(Clone, Debug)]
pub enum HistoryKind {
    Event {
        seq: i64,
        event_type: EventType,
        source: Option<Source>,
        body: Option<Bytes>,
    },
    Observation {
        number: i64,
        source: Source,
        result: String,
        body: Bytes,
    },
}

/// A task that EvoLink is to be asked about.
#[derive(Clone, Debug)]
pub struct DueTask {
    pub submission_id: SubmissionId,
    pub task_id: TaskId,
    pub submitted_at: Timestamp,
}

macro_rules! select_view {
    ($where:literal) => {
        concat!(
            "SELECT seq, ",
            record_columns!(),
            ", (SELECT body FROM observation WHERE id = task.seq * 1024 + task.shown) AS body FROM task WHERE ",
            $where
        )
    };
}

impl Store {
    /// # Errors
    /// `StoreError` if the database cannot be read.
    pub async fn find_task(&self, name: &TaskName) -> Result<Option<TaskView>, StoreError> {
        let (sql, text) = match name {
            TaskName::Task(id) => (select_view!("task_id = $1"), id.to_string()),
            TaskName::Submission(id) => (select_view!("submission_id = $1"), id.to_string()),
        };
        let row: Option<ViewRow> = sqlx::query_as(sql)
            .bind(text)
            .fetch_optional(&self.read)
            .await?;
        row.map(TaskView::try_from).transpose()
    }

    /// A page of tasks, newest first.
    ///
    /// # Errors
    /// `StoreError` if the database cannot be read.
    pub async fn list_tasks(
        &self,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<Vec<TaskView>, StoreError> {
        const SQL: &str = select_view!(
            "($1 IS NULL OR state = $1) AND ($2 IS NULL OR client = $2) AND submitted_at > $3 AND seq < $4
             ORDER BY seq DESC LIMIT $5"
        );
        let rows: Vec<ViewRow> = sqlx::query_as(SQL)
            .bind(filter.state.map(State::as_str))
            .bind(&filter.client)
            .bind(filter.created_after.map_or(i64::MIN, Timestamp::as_millis))
            .bind(filter.before_seq.unwrap_or(i64::MAX))
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        rows.into_iter().map(TaskView::try_from).collect()
    }

    /// All that is kept of how the task with number `seq` came to be what it is, in order.
    ///
    /// # Errors
    /// `StoreError` if the database cannot be read.
    pub async fn list_history(&self, seq: i64) -> Result<Vec<HistoryItem>, StoreError> {
        const OBSERVATIONS: &str = "SELECT id, source, result, at, body FROM observation
            WHERE id >= $1 AND id < $2 ORDER BY id LIMIT $3";
        const EVENTS: &str = "SELECT seq, type, source, at,
                (SELECT body FROM observation WHERE id = event.task_seq * 1024 + event.observation) AS body
            FROM event WHERE task_seq = $1 ORDER BY seq LIMIT $2";
        let first = seq * OBSERVATIONS_PER_TASK;
        let observations: Vec<ObservationRow> = sqlx::query_as(OBSERVATIONS)
            .bind(first)
            .bind(first + OBSERVATIONS_PER_TASK)
            .bind(HISTORY_MAX)
            .fetch_all(&self.read)
            .await?;
        let events: Vec<EventRow> = sqlx::query_as(EVENTS)
            .bind(seq)
            .bind(HISTORY_MAX)
            .fetch_all(&self.read)
            .await?;
        let observations = observations.into_iter().map(HistoryItem::try_from);
        let events = events.into_iter().map(HistoryItem::try_from);
        let mut history: Vec<HistoryItem> = observations.chain(events).collect::<Result<_, _>>()?;
        history.sort_by_key(|item| item.at);
        Ok(history)
    }

    /// EvoLink's answer to the submit of the task with number `seq`, if it is kept and was news: after a quicker callback
    /// it was not, and the app was shown what that one had told.
    ///
    /// # Errors
    /// `StoreError` if the database cannot be read.
    pub async fn find_submit_answer(&self, seq: i64) -> Result<Option<Bytes>, StoreError> {
        const SQL: &str = "SELECT body FROM observation
            WHERE id >= $1 AND id < $2 AND source = 'submit' AND result = 'recorded' ORDER BY id LIMIT 1";
        let first = seq * OBSERVATIONS_PER_TASK;
        let body: Option<Vec<u8>> = sqlx::query_scalar(SQL)
            .bind(first)
            .bind(first + OBSERVATIONS_PER_TASK)
            .fetch_optional(&self.read)
            .await?;
        Ok(body.map(Bytes::from))
    }

    /// Tasks to be asked about by `now`, the longest overdue first.
    ///
    /// # Errors
    /// `StoreError` if the database cannot be read.
    pub async fn list_due(&self, now: Timestamp, limit: u32) -> Result<Vec<DueTask>, StoreError> {
        const SQL: &str = "SELECT submission_id, task_id, submitted_at FROM task
            WHERE next_poll_at <= $1 ORDER BY next_poll_at LIMIT $2";
        let rows: Vec<DueRow> = sqlx::query_as(SQL)
            .bind(now.as_millis())
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        rows.into_iter().map(DueTask::try_from).collect()
    }

    /// Submits whose answer should have come before `before` and was never recorded: this process, or the one before
    /// it, was cut off in the middle.
    ///
    /// # Errors
    /// `StoreError` if the database cannot be read.
    pub async fn list_unanswered(
        &self,
        before: Timestamp,
        limit: u32,
    ) -> Result<Vec<SubmissionId>, StoreError> {
        const SQL: &str = "SELECT seq, submission_id FROM task
            WHERE state = 'submitting' AND submitted_at < $1 ORDER BY submitted_at LIMIT $2";
        let rows = sqlx::query(SQL)
            .bind(before.as_millis())
            .bind(limit)
            .fetch_all(&self.read)
            .await?;
        rows.iter()
            .map(|row| {
                let id = row.try_get("seq")?;
                let text: &str = row.try_get("submission_id")?;
                text.parse().map_err(|_| StoreError::Corrupt {
                    table: "task",
                    id,
                    column: "submission_id",
                })
            })
            .collect()
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// `StoreError` if it does not.
    pub async fn ping(&self) -> Result<(), StoreError> {
        let _: i64 = sqlx::query_scalar("SELECT 1 FROM task UNION ALL SELECT 1 LIMIT 1")
            .fetch_one(&self.read)
            .await?;
        Ok(())
    }
}

#[derive(FromRow)]
struct ViewRow {
    #[sqlx(flatten)]
    record: RecordRow,
    body: Option<Vec<u8>>,
}

impl TryFrom<ViewRow> for TaskView {
    type Error = StoreError;

    fn try_from(row: ViewRow) -> Result<Self, StoreError> {
        Ok(Self {
            record: row.record.try_into()?,
            body: row.body.map(Bytes::from),
        })
    }
}

#[derive(FromRow)]
struct DueRow {
    submission_id: String,
    task_id: String,
    submitted_at: i64,
}

impl TryFrom<DueRow> for DueTask {
    type Error = StoreError;

    fn try_from(row: DueRow) -> Result<Self, StoreError> {
        let corrupt = |column| StoreError::Corrupt {
            table: "task",
            id: 0,
            column,
        };
        Ok(Self {
            submission_id: row
                .submission_id
                .parse()
                .map_err(|_| corrupt("submission_id"))?,
            task_id: TaskId::parse(&row.task_id).ok_or_else(|| corrupt("task_id"))?,
            submitted_at: Timestamp::from_millis(row.submitted_at),
        })
    }
}

#[derive(FromRow)]
struct ObservationRow {
    id: i64,
    source: String,
    result: String,
    at: i64,
    body: Vec<u8>,
}

impl TryFrom<ObservationRow> for HistoryItem {
    type Error = StoreError;

    fn try_from(row: ObservationRow) -> Result<Self, StoreError> {
        let corrupt = StoreError::Corrupt {
            table: "observation",
            id: row.id,
            column: "source",
        };
        Ok(Self {
            at: Timestamp::from_millis(row.at),
            kind: HistoryKind::Observation {
                number: row.id % OBSERVATIONS_PER_TASK,
                source: Source::parse(&row.source).ok_or(corrupt)?,
                result: row.result,
                body: row.body.into(),
            },
        })
    }
}

#[derive(FromRow)]
struct EventRow {
    seq: i64,
    r#type: String,
    source: Option<String>,
    at: i64,
    body: Option<Vec<u8>>,
}

impl TryFrom<EventRow> for HistoryItem {
    type Error = StoreError;

    fn try_from(row: EventRow) -> Result<Self, StoreError> {
        let corrupt = StoreError::Corrupt {
            table: "event",
            id: row.seq,
            column: "type",
        };
        Ok(Self {
            at: Timestamp::from_millis(row.at),
            kind: HistoryKind::Event {
                seq: row.seq,
                event_type: EventType::parse(&row.r#type).ok_or(corrupt)?,
                source: row.source.as_deref().and_then(Source::parse),
                body: row.body.map(Bytes::from),
            },
        })
    }
}
