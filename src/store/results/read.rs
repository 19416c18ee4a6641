//! The archiver's queries: which clients have files to fetch, which files are due, which copies are
//! needed, and how many files wait or failed.

use sqlx::FromRow;
use tracing::error;

use super::CHANGED_AT_ONCE_MAX;
use super::row::{FileRow, corrupt, file_columns};
use crate::domain::delivery::LEASE_MAX;
use crate::domain::ids::{SubmissionId, TaskId};
use crate::domain::result_file::{FileId, FileState, ResultFile};
use crate::domain::timestamp::Timestamp;
use crate::store::read::overdue::COUNTED_MAX;
use crate::store::{Store, StoreError, on_pool};

/// A file with the ids of its task.
#[derive(Clone, Debug)]
pub struct FileView {
    pub file: ResultFile,
    pub submission_id: SubmissionId,
    pub task_id: Option<TaskId>,
    /// Whether the number of the file is its position in EvoLink's list.
    pub is_numbered_as_listed: bool,
}

// Jumps from client to client in the index, however many files each has.
const CLIENTS: &str = "WITH RECURSIVE named (name) AS (
        SELECT min(client) FROM result WHERE state = 'pending' AND client >= $1
        UNION ALL
        SELECT (SELECT min(client) FROM result WHERE state = 'pending' AND client > named.name)
        FROM named WHERE named.name IS NOT NULL
    )
    SELECT name FROM named WHERE name IS NOT NULL LIMIT $2";

macro_rules! select_file {
    ($where:literal) => {
        concat!(
            "SELECT ",
            file_columns!(),
            ", (SELECT submission_id FROM task WHERE seq = result.id / 64) AS submission_id,
            (SELECT task_id FROM task WHERE seq = result.id / 64) AS task_id,
            (SELECT results_order FROM task WHERE seq = result.id / 64) AS results_order FROM result WHERE ",
            $where
        )
    };
}

const DUE: &str = select_file!(
    "state = 'pending' AND client = $1 AND due_at <= $2 AND (lease_until IS NULL OR lease_until <= $2 OR lease_until > $5 OR holder = $3)
    ORDER BY offered_until LIMIT $4"
);

const FIND: &str = select_file!("id = $1");

// Pages of all files that are archived.
const ARCHIVED: &str = select_file!("state = 'archived' AND id > $1 ORDER BY id LIMIT $2");

const IS_COPY_NEEDED: &str = "SELECT count(*) FROM (SELECT 1 FROM result WHERE state = 'archived' AND sha256 = $1 LIMIT 1) AS counted";

const WITH_COPY: &str = "SELECT id FROM result WHERE state = 'archived' AND sha256 = $1 LIMIT $2";

// The `LIMIT` is inside, so that the count is bounded too.
const COUNT_PENDING: &str = "SELECT count(*) FROM (SELECT 1 FROM result WHERE state = 'pending' AND client >= '' LIMIT $1) AS counted";
const COUNT_FAILED: &str = "SELECT count(*) FROM (SELECT 1 FROM result WHERE state = 'failed' AND id >= 0 LIMIT $1) AS counted";

/// Each statement here, with the PostgreSQL types of its parameters. An index answers all of them,
/// however many files there are.
pub const STATEMENTS: [(&str, &str); 8] = [
    (CLIENTS, "text, bigint"),
    (DUE, "text, bigint, text, bigint, bigint"),
    (FIND, "bigint"),
    (ARCHIVED, "bigint, bigint"),
    (IS_COPY_NEEDED, "text"),
    (WITH_COPY, "text, bigint"),
    (COUNT_PENDING, "bigint"),
    (COUNT_FAILED, "bigint"),
];

impl Store {
    /// Lists at most `limit` clients with files to fetch, in the order of their names, from `from`
    /// on.
    pub async fn list_clients_with_files(
        &self,
        from: &str,
        limit: u32,
    ) -> Result<Vec<String>, StoreError> {
        on_pool!(self, pool => sqlx::query_scalar(CLIENTS)
            .bind(from)
            .bind(i64::from(limit))
            .fetch_all(pool))
    }

    /// Lists files of `client` that are due and that no other process fetches, those first that
    /// EvoLink will stop offering first.
    pub async fn list_due_files(
        &self,
        client: &str,
        now: Timestamp,
        holder: &str,
        limit: u32,
    ) -> Result<Vec<FileView>, StoreError> {
        let rows: Vec<FileViewRow> = on_pool!(self, pool => sqlx::query_as(DUE)
            .bind(client)
            .bind(now.as_millis())
            .bind(holder)
            .bind(i64::from(limit))
            .bind(now.after(LEASE_MAX).as_millis())
            .fetch_all(pool))?;
        Ok(readable(rows))
    }

    pub async fn find_file(&self, id: FileId) -> Result<Option<FileView>, StoreError> {
        let row: Option<FileViewRow> =
            on_pool!(self, pool => sqlx::query_as(FIND).bind(id.0).fetch_optional(pool))?;
        row.map(FileView::try_from).transpose()
    }

    /// Lists archived files with ids above `after`, in the order of their ids.
    pub async fn list_archived_files(
        &self,
        after: FileId,
        limit: u32,
    ) -> Result<Vec<FileView>, StoreError> {
        let rows: Vec<FileViewRow> = on_pool!(self, pool => sqlx::query_as(ARCHIVED)
            .bind(after.0)
            .bind(i64::from(limit))
            .fetch_all(pool))?;
        Ok(readable(rows))
    }

    /// Whether an archived file has this copy.
    pub async fn is_copy_needed(&self, sha256: &str) -> Result<bool, StoreError> {
        let count: i64 = on_pool!(self, pool => sqlx::query_scalar(IS_COPY_NEEDED).bind(sha256).fetch_one(pool))?;
        Ok(count > 0)
    }

    /// Lists files that have this copy, up to a fixed number.
    pub async fn list_files_with_copy(&self, sha256: &str) -> Result<Vec<FileId>, StoreError> {
        let ids: Vec<i64> = on_pool!(self, pool => sqlx::query_scalar(WITH_COPY)
            .bind(sha256)
            .bind(i64::from(CHANGED_AT_ONCE_MAX))
            .fetch_all(pool))?;
        Ok(ids.into_iter().map(FileId).collect())
    }

    /// Counts the pending or failed files, up to `COUNTED_MAX`. Zero for other states, which have
    /// no such index.
    pub async fn count_files(&self, state: FileState) -> Result<i64, StoreError> {
        let sql = match state {
            FileState::Pending => COUNT_PENDING,
            FileState::Failed => COUNT_FAILED,
            FileState::Archived | FileState::Expired => return Ok(0),
        };
        on_pool!(self, pool => sqlx::query_scalar(sql).bind(i64::from(COUNTED_MAX)).fetch_one(pool))
    }
}

/// Leaves out rows with an impossible value. Otherwise one of them would stop the archiver.
fn readable(rows: Vec<FileViewRow>) -> Vec<FileView> {
    let views = rows.into_iter().map(|row| {
        let id = row.file.id;
        FileView::try_from(row).inspect_err(|error| {
            error!(file.id = id, error = %error, "could not read result file {id}; it is left out: {error}");
        })
    });
    views.filter_map(Result::ok).collect()
}

#[derive(FromRow)]
struct FileViewRow {
    #[sqlx(flatten)]
    file: FileRow,
    submission_id: Option<String>,
    task_id: Option<String>,
    results_order: Option<String>,
}

impl TryFrom<FileViewRow> for FileView {
    type Error = StoreError;

    fn try_from(row: FileViewRow) -> Result<Self, StoreError> {
        let id = row.file.id;
        let submission_id = row.submission_id.and_then(|text| text.parse().ok());
        Ok(Self {
            file: row.file.try_into()?,
            submission_id: submission_id.ok_or_else(|| corrupt(id, "id"))?,
            task_id: row.task_id.as_deref().and_then(TaskId::parse),
            is_numbered_as_listed: row.results_order.is_none(),
        })
    }
}
