//! Queries of the quarantine: a page, one complete entry, the entries of one task, and the totals.

use bytes::Bytes;
use sqlx::FromRow;

use super::{Kind, ReplayResult, Total};
use crate::domain::callback::Subject;
use crate::domain::ids::TaskId;
use crate::domain::observation::Source;
use crate::domain::timestamp::Timestamp;
use crate::store::{Store, StoreError, on_pool};

/// The limit of entries read for one callback URL or one task. No more are kept for one URL,
/// whatever is configured.
const OF_ONE_MAX: i64 = 1000;

/// An entry without its bytes.
#[derive(Clone, Debug)]
pub struct QuarantineEntry {
    pub id: i64,
    pub subject: Subject,
    pub kind: Kind,
    pub source: Source,
    /// The task that the body names, if it could be read.
    pub task_id: Option<TaskId>,
    pub repeats: i64,
    pub first_at: Timestamp,
    pub last_at: Timestamp,
    pub replayed: Option<(Timestamp, ReplayResult)>,
    /// The size of headers and body.
    pub bytes: i64,
    /// The SHA-256 of the body.
    pub body_digest: Vec<u8>,
    pub reason: String,
}

/// An entry with its bytes.
#[derive(Clone, Debug)]
pub struct QuarantineWhole {
    pub entry: QuarantineEntry,
    /// One `name: value` a line.
    pub headers: String,
    pub body: Bytes,
}

/// Which entries to list. Absent means all.
#[derive(Clone, Debug, Default)]
pub struct QuarantineFilter {
    pub subject: Option<Subject>,
    /// Lists older entries than this one, the last of the previous page.
    pub before: Option<i64>,
}

/// A page of entries, newest first.
#[derive(Clone, Debug)]
pub struct QuarantinePage {
    pub entries: Vec<QuarantineEntry>,
    /// `QuarantineFilter::before` of the next page, if there is one.
    pub next: Option<i64>,
}

macro_rules! select_entry {
    ($more:literal, $where:literal) => {
        concat!(
            "SELECT id, subject, kind, source, task_id, repeats, first_at, last_at, replayed_at, replay_result, bytes,
                body_digest, reason",
            $more,
            " FROM quarantine WHERE ",
            $where
        )
    };
}

const PAGE: &str = select_entry!("", "id < $1 ORDER BY id DESC LIMIT $2");
// These rows are few and sorted here, because no index has them in the order of their ids.
const OF_SUBJECT: &str = select_entry!("", "subject = $1 LIMIT $2");
const OF_TASK: &str = select_entry!("", "task_id = $1 LIMIT $2");
const FIND: &str = select_entry!(", headers, body", "id = $1");
const TOTAL: &str = "SELECT entries, bytes FROM quarantine_total WHERE id = $1";

/// Each statement here, with the PostgreSQL types of its parameters. An index answers all of them.
pub const STATEMENTS: [(&str, &str); 5] = [
    (PAGE, "bigint, bigint"),
    (OF_SUBJECT, "text, bigint"),
    (OF_TASK, "text, bigint"),
    (FIND, "bigint"),
    (TOTAL, "bigint"),
];

impl Store {
    /// A page of at most `limit` entries.
    pub async fn list_quarantine(
        &self,
        filter: &QuarantineFilter,
        limit: u32,
    ) -> Result<QuarantinePage, StoreError> {
        let before = filter.before.unwrap_or(i64::MAX);
        let (limit, more) = (limit as usize, i64::from(limit) + 1);
        let mut entries = match &filter.subject {
            None => parse_all(on_pool!(self, pool => sqlx::query_as(PAGE)
                .bind(before)
                .bind(more)
                .fetch_all(pool))?)?,
            Some(subject) => {
                let mut all = self.quarantine_of(OF_SUBJECT, &subject.to_string()).await?;
                all.retain(|entry| entry.id < before);
                all
            }
        };
        entries.sort_by_key(|entry| std::cmp::Reverse(entry.id));
        let has_more = entries.len() > limit;
        entries.truncate(limit);
        let last = entries.last().map(|last| last.id);
        Ok(QuarantinePage {
            next: last.filter(|_| has_more),
            entries,
        })
    }

    /// Lists the entries that came to the callback URL of `subject`, or that are about `task_id`,
    /// the oldest first.
    pub async fn list_quarantine_of_task(
        &self,
        subject: Option<&Subject>,
        task_id: Option<&TaskId>,
    ) -> Result<Vec<QuarantineEntry>, StoreError> {
        let mut entries = Vec::new();
        if let Some(subject) = subject {
            entries = self.quarantine_of(OF_SUBJECT, &subject.to_string()).await?;
        }
        if let Some(task_id) = task_id {
            entries.extend(self.quarantine_of(OF_TASK, task_id.as_str()).await?);
        }
        entries.sort_by_key(|entry| entry.id);
        entries.dedup_by_key(|entry| entry.id);
        Ok(entries)
    }

    pub async fn find_quarantined(&self, id: i64) -> Result<Option<QuarantineWhole>, StoreError> {
        let row: Option<WholeRow> =
            on_pool!(self, pool => sqlx::query_as(FIND).bind(id).fetch_optional(pool))?;
        row.map(QuarantineWhole::try_from).transpose()
    }

    pub async fn quarantine_total(&self) -> Result<Total, StoreError> {
        let total = on_pool!(self, pool => sqlx::query_as(TOTAL).bind(1_i64).fetch_one(pool))?;
        Ok(Total::from_row(total))
    }

    async fn quarantine_of(
        &self,
        sql: &'static str,
        name: &str,
    ) -> Result<Vec<QuarantineEntry>, StoreError> {
        parse_all(
            on_pool!(self, pool => sqlx::query_as(sql).bind(name).bind(OF_ONE_MAX).fetch_all(pool))?,
        )
    }
}

fn parse_all(rows: Vec<EntryRow>) -> Result<Vec<QuarantineEntry>, StoreError> {
    rows.into_iter().map(QuarantineEntry::try_from).collect()
}

#[derive(FromRow)]
struct EntryRow {
    id: i64,
    subject: String,
    kind: String,
    source: String,
    task_id: Option<String>,
    repeats: i64,
    first_at: i64,
    last_at: i64,
    replayed_at: Option<i64>,
    replay_result: Option<String>,
    bytes: i64,
    body_digest: Vec<u8>,
    reason: String,
}

#[derive(FromRow)]
struct WholeRow {
    #[sqlx(flatten)]
    entry: EntryRow,
    headers: String,
    body: Vec<u8>,
}

impl TryFrom<WholeRow> for QuarantineWhole {
    type Error = StoreError;

    fn try_from(row: WholeRow) -> Result<Self, StoreError> {
        Ok(Self {
            entry: row.entry.try_into()?,
            headers: row.headers,
            body: row.body.into(),
        })
    }
}

impl TryFrom<EntryRow> for QuarantineEntry {
    type Error = StoreError;

    fn try_from(row: EntryRow) -> Result<Self, StoreError> {
        let corrupt = |column| StoreError::Corrupt {
            table: "quarantine",
            id: row.id,
            column,
        };
        let task_id = row.task_id.map(|text| TaskId::parse(&text));
        let result = row.replay_result.map(|text| text.parse().ok());
        let replayed = match (row.replayed_at.map(Timestamp::from_millis), result) {
            (None, None) => None,
            (Some(at), Some(Some(result))) => Some((at, result)),
            _ => return Err(corrupt("replay_result")),
        };
        Ok(Self {
            id: row.id,
            subject: row.subject.parse().map_err(|_| corrupt("subject"))?,
            kind: row.kind.parse().map_err(|_| corrupt("kind"))?,
            source: row.source.parse().map_err(|_| corrupt("source"))?,
            task_id: task_id
                .map(|parsed| parsed.ok_or_else(|| corrupt("task_id")))
                .transpose()?,
            repeats: row.repeats,
            first_at: Timestamp::from_millis(row.first_at),
            last_at: Timestamp::from_millis(row.last_at),
            replayed,
            bytes: row.bytes,
            body_digest: row.body_digest,
            reason: row.reason,
        })
    }
}
