//! What can be asked of the store. Read-only connections: a question never writes.

use bytes::Bytes;
use sqlx::{FromRow, Row as _};

use super::record::{Record, RecordRow, record_columns};
use super::{Store, StoreError};
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::task::State;
use crate::domain::timestamp::Timestamp;

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

    /// Tasks to be asked about by `now`, the longest overdue first.
    pub async fn list_due(&self, now: Timestamp, limit: u32) -> Result<Vec<DueTask>, StoreError> {
        const SQL: &str = "SELECT seq, submission_id, task_id, submitted_at FROM task
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
    seq: i64,
    submission_id: String,
    task_id: String,
    submitted_at: i64,
}

impl TryFrom<DueRow> for DueTask {
    type Error = StoreError;

    fn try_from(row: DueRow) -> Result<Self, StoreError> {
        let corrupt = |column| StoreError::Corrupt {
            table: "task",
            id: row.seq,
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
