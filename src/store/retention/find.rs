//! The janitor's queries: which rows are old. Each reads a bounded number of rows by an index, and
//! takes no lock.

use sqlx::FromRow;

use super::deletable::is_deletable_task;
use super::{Age, BATCH_BYTES, BATCH_ROWS, Cutoffs, SLACK};
use crate::domain::ids::SubmissionId;
use crate::domain::timestamp::Timestamp;
use crate::store::{Store, StoreError, on_pool};

/// What the janitors of all processes know.
#[derive(Clone, Copy, Debug)]
pub struct JanitorState {
    /// The last task whose old bodies were deleted.
    pub bodies_upto: i64,
    /// The last delivery that was examined.
    pub deliveries_upto: i64,
    /// When everything that was due was deleted last. Before that, when the newest event was
    /// recorded. `None` if there is neither.
    pub last_known_time: Option<Timestamp>,
    /// When everything that was due was deleted last.
    pub ran_at: Option<Timestamp>,
}

/// Old rows, and where the search goes on. There may be more if `next` is set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Found<T, N> {
    pub rows: Vec<T>,
    pub next: Option<N>,
}

const STATE: &str = "SELECT bodies_upto, deliveries_upto, ran_at,
    (SELECT at FROM event ORDER BY seq DESC LIMIT 1) AS newest_at FROM janitor WHERE id = 1";

const OLDEST_EVENTS: &str =
    "SELECT event.seq, event.task_seq, event.at, exported_task.event_seq AS exported
    FROM event LEFT JOIN exported_task ON exported_task.task_seq = event.task_seq
    ORDER BY event.seq LIMIT $1";

const FIRST_KNOWN_EVENT: &str =
    "SELECT at FROM event WHERE seq > $1 AND at <= $2 ORDER BY seq LIMIT 1";

// The condition is a column, so that a page takes the same time whether tasks can be deleted or not.
const OLD_TASKS: &str = concat!(
    "SELECT task.seq, task.submission_id, CAST(CASE WHEN ",
    is_deletable_task!("$2", "$3", "$4"),
    " THEN 1 ELSE 0 END AS BIGINT) AS is_deletable,
    (SELECT count(*) FROM exported_task WHERE exported_task.task_seq = task.seq) AS is_exported
    FROM task WHERE task.submission_id > $1 AND task.submission_id < $2
    ORDER BY task.submission_id LIMIT $5"
);

const TASKS_AFTER: &str = "SELECT seq, submitted_at FROM task WHERE seq > $1 ORDER BY seq LIMIT $2";

const DELIVERIES_AFTER: &str =
    "SELECT id, state, made_at, ended_at FROM delivery WHERE id > $1 ORDER BY id LIMIT $2";

const DEAD_AFTER: &str = "SELECT id, state, made_at, ended_at FROM delivery
    WHERE (state, id) > ('dead', $1) AND (state, id) < ('dead', 9223372036854775807) AND state <> 'delivered'
    ORDER BY state, id LIMIT $2";

const QUARANTINE_AFTER: &str =
    "SELECT id, last_at, bytes FROM quarantine WHERE id > $1 ORDER BY id LIMIT $2";

const OLD_KEYS: &str = "SELECT name FROM idempotency WHERE made_at < $1 ORDER BY made_at LIMIT $2";

/// Each statement here that may meet many rows, with the PostgreSQL types of its parameters. An
/// index answers all of them.
pub const STATEMENTS: [(&str, &str); 6] = [
    (OLD_TASKS, "text, text, bigint, bigint, bigint"),
    (TASKS_AFTER, "bigint, bigint"),
    (DELIVERIES_AFTER, "bigint, bigint"),
    (DEAD_AFTER, "bigint, bigint"),
    (QUARANTINE_AFTER, "bigint, bigint"),
    (OLD_KEYS, "bigint, bigint"),
];

/// An event at the old end of the log.
#[derive(Clone, Copy, Debug, FromRow)]
pub struct OldEvent {
    pub seq: i64,
    pub task_seq: i64,
    at: i64,
    /// The newest event of its task that an export has.
    exported: Option<i64>,
}

impl OldEvent {
    /// Returns whether an export has the event.
    pub fn is_exported(&self) -> bool {
        self.exported.is_some_and(|event| event >= self.seq)
    }
}

/// A task that may be deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OldTask {
    pub seq: i64,
    pub id: SubmissionId,
    /// Whether an export has it, with all of its events.
    pub is_exported: bool,
}

impl Store {
    /// # Errors
    /// `Corrupt` if the janitor's row is missing.
    pub async fn janitor_state(&self) -> Result<JanitorState, StoreError> {
        let row: Option<(i64, i64, Option<i64>, Option<i64>)> =
            on_pool!(self, pool => sqlx::query_as(STATE).fetch_optional(pool))?;
        let missing = StoreError::Corrupt {
            table: "janitor",
            id: 1,
            column: "id",
        };
        let (bodies_upto, deliveries_upto, ran_at, newest_at) = row.ok_or(missing)?;
        Ok(JanitorState {
            bodies_upto,
            deliveries_upto,
            last_known_time: ran_at.or(newest_at).map(Timestamp::from_millis),
            ran_at: ran_at.map(Timestamp::from_millis),
        })
    }

    /// Lists old events at the old end of the log, without a gap.
    pub async fn list_old_events(&self, cutoffs: &Cutoffs) -> Result<Vec<OldEvent>, StoreError> {
        let mut rows: Vec<OldEvent> = on_pool!(self, pool => sqlx::query_as(OLDEST_EVENTS)
            .bind(BATCH_ROWS)
            .fetch_all(pool))?;
        let ages = rows.iter().map(|row| cutoffs.age(row.at, cutoffs.events));
        let mut ages = ages.collect::<Vec<_>>();
        if let Some(first) = ages.iter().position(|age| *age == Age::Young) {
            ages.truncate(first);
        } else if let (Some(last), Some(Age::Unknown)) = (rows.last(), ages.last()) {
            // Events of unknown age are as old as the next one of known age, which came later.
            let known: Option<i64> = on_pool!(self, pool => sqlx::query_scalar(FIRST_KNOWN_EVENT)
                .bind(last.seq)
                .bind(cutoffs.ahead.as_millis())
                .fetch_optional(pool))?;
            if known.is_some_and(|at| cutoffs.age(at, cutoffs.events) == Age::Old) {
                return Ok(rows);
            }
        }
        let old = ages.iter().rposition(|age| *age == Age::Old);
        rows.truncate(old.map_or(0, |last| last + 1));
        Ok(rows)
    }

    /// Lists tasks that may be deleted, by their submission ids, from after `after` on.
    pub async fn list_old_tasks(
        &self,
        cutoffs: &Cutoffs,
        after: Option<SubmissionId>,
    ) -> Result<Found<OldTask, SubmissionId>, StoreError> {
        let after = after.map_or_else(String::new, |id| id.to_string());
        let rows: Vec<(i64, String, i64, i64)> = on_pool!(self, pool => sqlx::query_as(OLD_TASKS)
            .bind(after)
            .bind(SubmissionId::first_at(cutoffs.tasks).to_string())
            .bind(cutoffs.tasks.as_millis())
            .bind(cutoffs.results.as_millis())
            .bind(BATCH_ROWS)
            .fetch_all(pool))?;
        let is_full = is_full(&rows);
        // A row with an impossible id stays, and stops nothing.
        let read = |(seq, id, is_deletable, is_exported): (i64, String, i64, i64)| {
            let task = OldTask {
                seq,
                id: id.parse().ok()?,
                is_exported: is_exported > 0,
            };
            Some((task, is_deletable > 0))
        };
        let read: Vec<_> = rows.into_iter().filter_map(read).collect();
        let next = read.last().filter(|_| is_full).map(|(task, _)| task.id);
        let rows = read.into_iter().filter(|(_, is_deletable)| *is_deletable);
        Ok(Found {
            rows: rows.map(|(task, _)| task).collect(),
            next,
        })
    }

    /// Lists tasks after the task number `after` whose bodies are old, if they are over.
    pub async fn list_tasks_with_old_bodies(
        &self,
        cutoffs: &Cutoffs,
        after: i64,
    ) -> Result<Vec<i64>, StoreError> {
        let rows: Vec<(i64, i64)> = on_pool!(self, pool => sqlx::query_as(TASKS_AFTER)
            .bind(after)
            .bind(BATCH_ROWS)
            .fetch_all(pool))?;
        let cutoff = cutoffs.observations.before(SLACK);
        let old = rows
            .into_iter()
            .take_while(|(_, at)| cutoffs.age(*at, cutoff) != Age::Young);
        Ok(old.map(|(seq, _)| seq).collect())
    }

    /// Lists deliveries after `after` that were delivered long ago. `next` is the last one that was
    /// examined; `None` if there was none to examine.
    pub async fn list_old_deliveries(
        &self,
        cutoffs: &Cutoffs,
        after: i64,
    ) -> Result<Found<i64, i64>, StoreError> {
        let mut rows = self.deliveries(DELIVERIES_AFTER, after).await?;
        let cutoff = cutoffs.delivered.before(SLACK);
        let young = |row: &DeliveryTimes| cutoffs.age(row.made_at, cutoff) == Age::Young;
        let first = rows.iter().position(young);
        rows.truncate(first.unwrap_or(rows.len()));
        let next = rows.last().map(|row| row.id);
        let old = rows.iter().filter(|row| row.is_over(cutoffs));
        Ok(Found {
            rows: old.map(|row| row.id).collect(),
            next,
        })
    }

    /// Lists deliveries after `after` that died long ago.
    pub async fn list_old_dead(
        &self,
        cutoffs: &Cutoffs,
        after: i64,
    ) -> Result<Found<i64, i64>, StoreError> {
        let rows = self.deliveries(DEAD_AFTER, after).await?;
        let old = rows.iter().filter(|row| row.is_over(cutoffs));
        let old = old.map(|row| row.id).collect();
        let next = rows.last().filter(|_| is_full(&rows)).map(|row| row.id);
        Ok(Found { rows: old, next })
    }

    async fn deliveries(
        &self,
        statement: &'static str,
        after: i64,
    ) -> Result<Vec<DeliveryTimes>, StoreError> {
        on_pool!(self, pool => sqlx::query_as(statement)
            .bind(after)
            .bind(BATCH_ROWS)
            .fetch_all(pool))
    }

    /// Lists entries of the quarantine after `after` that last came long ago.
    pub async fn list_old_quarantine(
        &self,
        cutoffs: &Cutoffs,
        after: i64,
    ) -> Result<Found<i64, i64>, StoreError> {
        let rows: Vec<(i64, i64, i64)> = on_pool!(self, pool => sqlx::query_as(QUARANTINE_AFTER)
            .bind(after)
            .bind(BATCH_ROWS)
            .fetch_all(pool))?;
        let mut found = Found {
            next: rows.last().filter(|_| is_full(&rows)).map(|(id, ..)| *id),
            rows: Vec::new(),
        };
        let mut size = 0;
        for (id, last_at, bytes) in rows {
            if cutoffs.age(last_at, cutoffs.quarantine) != Age::Old {
                continue;
            }
            found.rows.push(id);
            size += bytes;
            if size > BATCH_BYTES {
                found.next = Some(id);
                break;
            }
        }
        Ok(found)
    }

    /// Lists idempotency keys that are forgotten.
    pub async fn list_old_keys(&self, cutoffs: &Cutoffs) -> Result<Vec<String>, StoreError> {
        on_pool!(self, pool => sqlx::query_scalar(OLD_KEYS)
            .bind(cutoffs.idempotency_keys.as_millis())
            .bind(BATCH_ROWS)
            .fetch_all(pool))
    }
}

fn is_full<T>(rows: &[T]) -> bool {
    i64::try_from(rows.len()).is_ok_and(|rows| rows == BATCH_ROWS)
}

#[derive(FromRow)]
pub(super) struct DeliveryTimes {
    pub id: i64,
    state: String,
    made_at: i64,
    ended_at: Option<i64>,
}

impl DeliveryTimes {
    /// Returns whether the delivery ended long enough ago to be deleted.
    pub fn is_over(&self, cutoffs: &Cutoffs) -> bool {
        let cutoff = match self.state.as_str() {
            "delivered" => cutoffs.delivered,
            "dead" => cutoffs.dead,
            _ => return false,
        };
        let ended = self.ended_at.is_some_and(|at| at < cutoff.as_millis());
        ended && self.made_at < cutoff.as_millis()
    }
}
