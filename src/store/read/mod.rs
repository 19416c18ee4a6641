//! Queries of tasks. They run on read-only connections, so a query never writes.

pub mod callback_keys;
pub mod events;
pub mod history;
pub mod inspect;
pub mod newest;
pub mod overdue;
pub mod told;
pub mod versions;

use std::time::Duration;

use bytes::Bytes;
use sqlx::FromRow;

use super::{Store, StoreError, on_pool};
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::kind::Kind;
use crate::domain::task::State;
use crate::domain::timestamp::Timestamp;
use crate::store::recorder::record::{Record, RecordRow, parse_id, record_columns};
use crate::store::results::{ShownFile, files_of_task, parse_shown};

/// A record with the body that is shown for it: EvoLink's latest answer, or nothing before the
/// first.
#[derive(Clone, Debug)]
pub struct TaskView {
    pub record: Record,
    pub body: Option<Bytes>,
    /// The result files, in the order of their numbers.
    pub files: Vec<ShownFile>,
}

/// A task id or a submission id.
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
    pub reference: Option<String>,
    pub kind: Option<Kind>,
    pub model: Option<String>,
    /// Lists tasks submitted later than this.
    pub created_after: Option<Timestamp>,
    pub created_before: Option<Timestamp>,
    /// Lists tasks submitted before this one, the last of the previous page.
    pub before: Option<SubmissionId>,
    /// Whether the caller may see the tasks of `client` only. Then no other task is examined: the
    /// next page must not begin at one that the caller does not know.
    pub is_isolated: bool,
}

/// A page of tasks, newest first.
#[derive(Clone, Debug, Default)]
pub struct TaskPage {
    pub tasks: Vec<TaskView>,
    /// `TaskFilter::before` of the next page, if there may be one.
    pub next: Option<SubmissionId>,
}

macro_rules! select_view {
    ($where:literal) => {
        concat!(
            "SELECT ",
            record_columns!(),
            ", (SELECT body FROM observation WHERE id = task.seq * 1024 + task.shown) AS body, ",
            files_of_task!(),
            " AS files FROM task WHERE ",
            $where
        )
    };
}

/// The limits of tasks that one page examines for a filter that no index serves. The second is used
/// if the first does not fill the page. Rare matches may take several pages to find, but no page
/// takes long. After the caller has left, SQLite runs on until the next matching row. These limits
/// bound that too.
const ROWS_EXAMINED_MAX: [i64; 2] = [500, 10_000];

const FIND_BY_TASK_ID: &str = select_view!("task_id = $1 AND ($2 IS NULL OR client = $2)");
const FIND_BY_SUBMISSION_ID: &str =
    select_view!("submission_id = $1 AND ($2 IS NULL OR client = $2)");
const FIND_BY_SEQ: &str = select_view!("seq = $1");

const PAGE_OF_ANY: &str = select_view!(
    "submission_id >= $1 AND submission_id < $2 AND ($3 IS NULL OR state = $3)
        AND ($4 IS NULL OR client = $4) AND ($6 IS NULL OR reference = $6)
        AND ($7 IS NULL OR kind = $7) AND ($8 IS NULL OR model = $8)
    ORDER BY submission_id DESC LIMIT $5"
);
// Pairs are compared although their parts would do, so that the query planner can prefer no other
// index. The condition on `completed` is the one of the partial index `task_state`.
const PAGE_OF_STATE: &str = select_view!(
    "(state, submission_id) >= ($3, $1) AND (state, submission_id) < ($3, $2) AND state <> 'completed'
        AND ($4 IS NULL OR client = $4) AND ($6 IS NULL OR reference = $6)
        AND ($7 IS NULL OR kind = $7) AND ($8 IS NULL OR model = $8)
    ORDER BY state DESC, submission_id DESC LIMIT $5"
);
const PAGE_OF_CLIENT: &str = select_view!(
    "(client, submission_id) >= ($4, $1) AND (client, submission_id) < ($4, $2)
        AND ($3 IS NULL OR state = $3) AND ($6 IS NULL OR reference = $6)
        AND ($7 IS NULL OR kind = $7) AND ($8 IS NULL OR model = $8)
    ORDER BY client DESC, submission_id DESC LIMIT $5"
);
const PAGE_OF_REFERENCE: &str = select_view!(
    "(reference, submission_id) >= ($6, $1) AND (reference, submission_id) < ($6, $2) AND reference IS NOT NULL
        AND ($3 IS NULL OR state = $3) AND ($4 IS NULL OR client = $4)
        AND ($7 IS NULL OR kind = $7) AND ($8 IS NULL OR model = $8)
    ORDER BY reference DESC, submission_id DESC LIMIT $5"
);

const HORIZON_OF_ANY: &str = "SELECT seq, submission_id FROM task
    WHERE submission_id >= $1 AND submission_id < $2 AND $3 IS NULL
    ORDER BY submission_id DESC LIMIT 1 OFFSET $4";
const HORIZON_OF_STATE: &str = "SELECT seq, submission_id FROM task
    WHERE (state, submission_id) >= ($3, $1) AND (state, submission_id) < ($3, $2) AND state <> 'completed'
    ORDER BY state DESC, submission_id DESC LIMIT 1 OFFSET $4";
const HORIZON_OF_CLIENT: &str = "SELECT seq, submission_id FROM task
    WHERE (client, submission_id) >= ($3, $1) AND (client, submission_id) < ($3, $2)
    ORDER BY client DESC, submission_id DESC LIMIT 1 OFFSET $4";
const HORIZON_OF_REFERENCE: &str = "SELECT seq, submission_id FROM task
    WHERE (reference, submission_id) >= ($3, $1) AND (reference, submission_id) < ($3, $2) AND reference IS NOT NULL
    ORDER BY reference DESC, submission_id DESC LIMIT 1 OFFSET $4";

/// Each statement here, with the PostgreSQL types of its parameters. An index answers all of them,
/// however many tasks there are.
pub const STATEMENTS: [(&str, &str); 10] = [
    (FIND_BY_TASK_ID, "text, text"),
    (FIND_BY_SUBMISSION_ID, "text, text"),
    (
        PAGE_OF_ANY,
        "text, text, text, text, bigint, text, text, text",
    ),
    (
        PAGE_OF_STATE,
        "text, text, text, text, bigint, text, text, text",
    ),
    (
        PAGE_OF_CLIENT,
        "text, text, text, text, bigint, text, text, text",
    ),
    (
        PAGE_OF_REFERENCE,
        "text, text, text, text, bigint, text, text, text",
    ),
    (HORIZON_OF_ANY, "text, text, text, bigint"),
    (HORIZON_OF_STATE, "text, text, text, bigint"),
    (HORIZON_OF_CLIENT, "text, text, text, bigint"),
    (HORIZON_OF_REFERENCE, "text, text, text, bigint"),
];

impl Store {
    pub async fn find_task(&self, name: &TaskName) -> Result<Option<TaskView>, StoreError> {
        self.find_task_of(name, None).await
    }

    /// Like `find_task`, but finds only tasks of `client`, if one is given. To others it is as if
    /// there were none: the body of a foreign task is not even read.
    pub async fn find_task_of(
        &self,
        name: &TaskName,
        client: Option<&str>,
    ) -> Result<Option<TaskView>, StoreError> {
        let (sql, text) = match name {
            TaskName::Task(id) => (FIND_BY_TASK_ID, id.to_string()),
            TaskName::Submission(id) => (FIND_BY_SUBMISSION_ID, id.to_string()),
        };
        let row: Option<ViewRow> = on_pool!(self, pool => sqlx::query_as(sql).bind(text).bind(client).fetch_optional(pool))?;
        row.map(TaskView::try_from).transpose()
    }

    /// Finds a task by its number in the store.
    pub async fn find_task_numbered(&self, seq: i64) -> Result<Option<TaskView>, StoreError> {
        let row: Option<ViewRow> =
            on_pool!(self, pool => sqlx::query_as(FIND_BY_SEQ).bind(seq).fetch_optional(pool))?;
        row.map(TaskView::try_from).transpose()
    }

    /// A page of at most `limit` tasks.
    pub async fn list_tasks(
        &self,
        filter: &TaskFilter,
        limit: u32,
    ) -> Result<TaskPage, StoreError> {
        let (oldest, newest) = filter.bounds();
        if !filter.is_sparse() {
            return self.page(filter, &oldest, &newest, limit, None).await;
        }
        let mut last = None;
        for looks in ROWS_EXAMINED_MAX {
            let horizon = self.find_horizon(filter, &oldest, &newest, looks).await?;
            let oldest = horizon.map_or(oldest.clone(), |horizon| horizon.to_string());
            let page = self.page(filter, &oldest, &newest, limit, horizon).await?;
            if page.tasks.len() == limit as usize || horizon.is_none() {
                return Ok(page);
            }
            last = Some(page);
        }
        Ok(last.unwrap_or_default())
    }

    /// Reads a page of tasks from `oldest` on. If they do not fill it, the next page begins before
    /// `horizon`.
    async fn page(
        &self,
        filter: &TaskFilter,
        oldest: &str,
        newest: &str,
        limit: u32,
        horizon: Option<SubmissionId>,
    ) -> Result<TaskPage, StoreError> {
        let sql = match filter.way() {
            Way::Any => PAGE_OF_ANY,
            Way::State(_) => PAGE_OF_STATE,
            Way::Client(_) => PAGE_OF_CLIENT,
            Way::Reference(_) => PAGE_OF_REFERENCE,
        };
        // One row more than is shown tells whether there is a next page.
        let rows: Vec<ViewRow> = on_pool!(self, pool => sqlx::query_as(sql)
            .bind(oldest)
            .bind(newest)
            .bind(filter.state.map(<&str>::from))
            .bind(&filter.client)
            .bind(i64::from(limit) + 1)
            .bind(&filter.reference)
            .bind(filter.kind.map(<&str>::from))
            .bind(&filter.model)
            .fetch_all(pool))?;
        let mut tasks = rows
            .into_iter()
            .map(TaskView::try_from)
            .collect::<Result<Vec<_>, _>>()?;
        let more = tasks.len() > limit as usize;
        tasks.truncate(limit as usize);
        let last = tasks.last().map(|last| last.record.task.submission_id);
        let next = if more { last } else { horizon };
        Ok(TaskPage { tasks, next })
    }

    /// Returns the last of the `looks` tasks that a page examines, if there are that many from
    /// `newest` to `oldest`.
    async fn find_horizon(
        &self,
        filter: &TaskFilter,
        oldest: &str,
        newest: &str,
        looks: i64,
    ) -> Result<Option<SubmissionId>, StoreError> {
        let (sql, key) = match filter.way() {
            Way::Any => (HORIZON_OF_ANY, None),
            Way::State(state) => (HORIZON_OF_STATE, Some(state.into_str())),
            Way::Client(client) => (HORIZON_OF_CLIENT, Some(client)),
            Way::Reference(reference) => (HORIZON_OF_REFERENCE, Some(reference)),
        };
        let row: Option<(i64, String)> = on_pool!(self, pool => sqlx::query_as(sql)
            .bind(oldest)
            .bind(newest)
            .bind(key)
            .bind(looks - 1)
            .fetch_optional(pool))?;
        row.map(parse_id).transpose()
    }

    /// Checks that the database answers.
    pub async fn ping(&self) -> Result<(), StoreError> {
        const SQL: &str = "SELECT count(*) FROM (SELECT 1 FROM task LIMIT 1) AS one";
        let _: i64 = on_pool!(self, pool => sqlx::query_scalar(SQL).fetch_one(pool))?;
        Ok(())
    }
}

/// The index by which a page is read.
enum Way<'a> {
    Any,
    State(State),
    Client(&'a str),
    Reference(&'a str),
}

impl TaskFilter {
    fn way(&self) -> Way<'_> {
        if let Some(client) = self.client.as_deref().filter(|_| self.is_isolated) {
            return Way::Client(client);
        }
        if let Some(reference) = &self.reference {
            return Way::Reference(reference);
        }
        match (self.state, &self.client) {
            (Some(state), _) if state != State::Completed => Way::State(state),
            (_, Some(client)) => Way::Client(client),
            _ => Way::Any,
        }
    }

    /// Returns whether that index may contain many tasks that do not match.
    fn is_sparse(&self) -> bool {
        let has_state = self.state.is_some();
        let of_way = match self.way() {
            Way::Any | Way::Client(_) => has_state || self.reference.is_some(),
            Way::State(_) => self.client.is_some(),
            Way::Reference(_) => has_state || self.client.is_some(),
        };
        of_way || self.kind.is_some() || self.model.is_some()
    }

    /// Returns the lowest submission id of the page, and the id that all of its tasks precede.
    fn bounds(&self) -> (String, String) {
        let oldest = self.created_after.map(|time| {
            let after = time.after(Duration::from_millis(1));
            SubmissionId::first_at(after).to_string()
        });
        let before = self.before.map(|id| id.to_string());
        let created = self.created_before;
        let created = created.map(|time| SubmissionId::first_at(time).to_string());
        let newest = before.into_iter().chain(created).min();
        (oldest.unwrap_or_default(), newest.unwrap_or("z".to_owned()))
    }
}

#[derive(FromRow)]
pub struct ViewRow {
    #[sqlx(flatten)]
    record: RecordRow,
    pub body: Option<Vec<u8>>,
    files: Option<String>,
}

impl TryFrom<ViewRow> for TaskView {
    type Error = StoreError;

    fn try_from(row: ViewRow) -> Result<Self, StoreError> {
        Ok(Self {
            record: row.record.try_into()?,
            body: row.body.map(Bytes::from),
            files: parse_shown(row.files.as_deref())?,
        })
    }
}
