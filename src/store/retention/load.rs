//! Checks under the write lock what a janitor asks to delete. Rows that another entry of the batch
//! concerns are left for the next time.

use std::collections::BTreeSet;

use sqlx::FromRow;

use super::deletable::is_deletable_task;
use super::find::DeliveryTimes;
use super::{BATCH_BYTES, BATCH_ROWS, Cutoffs, Deletion, LEASE, OldRows};
use crate::domain::delivery::{Holder, Lease};
use crate::domain::ids::SubmissionId;
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::engine::rows::Rows;
use crate::store::engine::value::Value;
use crate::store::engine::writer::{Writer, on_writer};
use crate::store::recorder::entry::{Entry, Receipt};
use crate::store::recorder::ledger::Ledger;

/// More observations than a task has.
const OBSERVATIONS_PER_TASK: i64 = 1024;
const DELIVERIES_PER_EVENT: i64 = 1024;
const FILES_PER_TASK: i64 = 64;

const JANITOR: &str = "SELECT holder, lease_until FROM janitor WHERE id = 1";

// The newest event stays, and one that is not old shows that the log is not the one that was read.
const EVENTS: &str = "SELECT count(*),
        coalesce(sum(CASE WHEN at >= $2 AND at <= $3 THEN 1 ELSE 0 END), 0), (SELECT max(seq) FROM event)
    FROM event WHERE seq <= $1";

// An event stays while a delivery of it is pending, or dead and kept for an operator.
const FIRST_NEEDED_EVENT: &str = "SELECT min(event_seq) FROM delivery WHERE id < $1
    AND (state = 'pending' OR (state = 'dead' AND ended_at >= $2))";

static TASKS: Rows<4> = Rows::new(
    "SELECT task.seq, task.observations FROM",
    concat!(
        "CROSS JOIN task WHERE task.seq = given.column1 AND ",
        is_deletable_task!("given.column2", "given.column3", "given.column4")
    ),
);

// The given values are the ids of the first observation of a task and of the next task.
static OBSERVATIONS: Rows<2> = Rows::new(
    "SELECT observation.id, CAST(length(observation.body) AS BIGINT) FROM",
    "CROSS JOIN observation WHERE observation.id >= given.column1 AND observation.id < given.column2",
);

// The body that is shown stays, and one that an event of the log shows.
static BODIES: Rows<2> = Rows::new(
    "SELECT observation.id, CAST(length(observation.body) AS BIGINT) FROM",
    "CROSS JOIN task CROSS JOIN observation WHERE task.seq = given.column1
        AND task.state <> 'submitting' AND task.state <> 'pending' AND task.state <> 'processing'
        AND task.claimed IS NULL
        AND observation.id >= task.seq * 1024 AND observation.id < task.seq * 1024 + 1024
        AND observation.at < given.column2 AND length(observation.body) > 0
        AND (task.shown IS NULL OR observation.id <> task.seq * 1024 + task.shown)
        AND NOT EXISTS (SELECT 1 FROM event WHERE event.task_seq = task.seq
            AND event.observation = observation.id - task.seq * 1024)",
);

static FILES: Rows<2> = Rows::new(
    "SELECT result.id FROM",
    "CROSS JOIN result WHERE result.id >= given.column1 AND result.id < given.column2",
);

static DELIVERIES: Rows<1> = Rows::new(
    "SELECT id, state, made_at, ended_at FROM",
    "CROSS JOIN delivery WHERE delivery.id = given.column1",
);

/// What a batch deletes.
#[derive(Debug, Default)]
pub struct Loaded {
    /// The process that deletes, and the end of its lease. `None` if the batch deletes nothing.
    pub lease: Option<Lease>,
    pub rows: Loadable,
    /// Whether another process has the lease.
    is_anothers: bool,
}

/// The rows that can be deleted.
#[derive(Debug, Default)]
pub struct Loadable {
    pub events: Option<Events>,
    pub tasks: Vec<i64>,
    /// The observations of `tasks`, and their files.
    pub observations: Vec<i64>,
    pub files: Vec<i64>,
    /// Observations whose bodies are deleted.
    pub bodies: Vec<i64>,
    pub bodies_upto: Option<i64>,
    pub deliveries: Vec<i64>,
    pub deliveries_upto: Option<i64>,
    pub quarantine: Vec<i64>,
    pub quarantine_before: Timestamp,
    pub keys: Vec<String>,
    pub keys_before: Timestamp,
    pub is_done: bool,
}

#[derive(Debug)]
pub struct Events {
    pub upto: i64,
    pub count: i64,
    pub exported: Vec<super::Exported>,
}

#[derive(FromRow)]
struct JanitorRow {
    holder: Option<String>,
    lease_until: Option<i64>,
}

/// Loads what `entries` ask to delete. `shared`: other processes may have the store open too.
pub async fn load(
    writer: &mut Writer,
    entries: &[&Entry],
    now: Timestamp,
    shared: bool,
) -> Result<Loaded, StoreError> {
    // A process has one janitor, which waits for the end of each request.
    let wanted = entries.iter().find_map(|entry| match entry {
        Entry::Retention(deletion) => Some(deletion),
        _ => None,
    });
    let Some(deletion) = wanted else {
        return Ok(Loaded::default());
    };
    let row: JanitorRow =
        on_writer!(writer, connection => sqlx::query_as(JANITOR).fetch_one(connection))?;
    let held = row
        .holder
        .zip(row.lease_until)
        .map(|(holder, until)| Lease {
            holder: Holder::parse(&holder),
            until: Timestamp::from_millis(until),
        });
    let is_anothers = held.is_some_and(|held| held.holder != deletion.holder && held.counts(now));
    if shared && is_anothers {
        return Ok(Loaded {
            is_anothers,
            ..Loaded::default()
        });
    }
    Ok(Loaded {
        lease: Some(Lease {
            holder: deletion.holder.clone(),
            until: now.after(LEASE),
        }),
        rows: load_rows(writer, deletion).await?,
        is_anothers: false,
    })
}

async fn load_rows(writer: &mut Writer, deletion: &Deletion) -> Result<Loadable, StoreError> {
    let cutoffs = &deletion.cutoffs;
    let mut rows = Loadable::default();
    match &deletion.rows {
        OldRows::None => {}
        OldRows::Done => rows.is_done = true,
        OldRows::Events { upto, exported } => {
            rows.events = load_events(writer, *upto, cutoffs).await?;
            if let Some(events) = &mut rows.events {
                events.exported.clone_from(exported);
            }
        }
        OldRows::Tasks { seqs } => load_tasks(writer, seqs, cutoffs, &mut rows).await?,
        OldRows::Bodies { seqs, upto } => {
            rows.bodies_upto = Some(*upto);
            load_bodies(writer, seqs, cutoffs, &mut rows).await?;
        }
        OldRows::Deliveries { ids, upto } => {
            rows.deliveries_upto = *upto;
            let ids: Vec<_> = ids.iter().map(|id| [(*id).into()]).collect();
            let times = DELIVERIES.fetch::<DeliveryTimes>(writer, &ids).await?;
            let over = times.iter().filter(|row| row.is_over(cutoffs));
            rows.deliveries = over.map(|row| row.id).collect();
        }
        OldRows::Quarantine { ids } => {
            rows.quarantine.clone_from(ids);
            rows.quarantine_before = cutoffs.quarantine;
        }
        OldRows::Keys { names } => {
            rows.keys.clone_from(names);
            rows.keys_before = cutoffs.idempotency_keys;
        }
    }
    Ok(rows)
}

async fn load_events(
    writer: &mut Writer,
    upto: i64,
    cutoffs: &Cutoffs,
) -> Result<Option<Events>, StoreError> {
    let needed: Option<i64> = on_writer!(writer, connection => sqlx::query_scalar(FIRST_NEEDED_EVENT)
        .bind((upto + 1) * DELIVERIES_PER_EVENT)
        .bind(cutoffs.dead.as_millis())
        .fetch_one(connection))?;
    let mut upto = needed.map_or(upto, |needed| upto.min(needed - 1));
    // Twice at most: the newest event is known after the first time.
    for _ in 0..2 {
        let (count, young, newest): (i64, i64, Option<i64>) = on_writer!(writer, connection => sqlx::query_as(EVENTS)
            .bind(upto)
            .bind(cutoffs.events.as_millis())
            .bind(cutoffs.ahead.as_millis())
            .fetch_one(connection))?;
        if young > 0 || count == 0 {
            return Ok(None);
        }
        if newest.is_some_and(|newest| upto < newest) {
            let exported = Vec::new();
            return Ok(Some(Events {
                upto,
                count,
                exported,
            }));
        }
        upto = newest.unwrap_or(0) - 1;
    }
    Ok(None)
}

async fn load_tasks(
    writer: &mut Writer,
    seqs: &[i64],
    cutoffs: &Cutoffs,
    rows: &mut Loadable,
) -> Result<(), StoreError> {
    let young = SubmissionId::first_at(cutoffs.tasks).to_string();
    let given: Vec<[Value<'_>; 4]> = seqs
        .iter()
        .map(|seq| {
            [
                (*seq).into(),
                young.as_str().into(),
                cutoffs.tasks.as_millis().into(),
                cutoffs.results.as_millis().into(),
            ]
        })
        .collect();
    let mut found = TASKS.fetch::<(i64, i64)>(writer, &given).await?;
    found.sort_unstable();
    let mut observations = 0;
    for (seq, count) in found {
        observations += count;
        // At least one task, however many observations it has.
        if observations > BATCH_ROWS * 4 && !rows.tasks.is_empty() {
            break;
        }
        rows.tasks.push(seq);
    }
    let ranges = ranges(&rows.tasks, OBSERVATIONS_PER_TASK);
    let mut found = OBSERVATIONS.fetch::<(i64, i64)>(writer, &ranges).await?;
    found.sort_unstable();
    let mut bytes = 0;
    for (id, length) in &found {
        bytes += length;
        let task = id / OBSERVATIONS_PER_TASK;
        if bytes > BATCH_BYTES && rows.tasks.first() != Some(&task) {
            rows.tasks.retain(|seq| *seq < task);
            break;
        }
    }
    let last = rows.tasks.last().copied().unwrap_or(0);
    let ids = found.into_iter().map(|(id, _)| id);
    rows.observations = ids
        .take_while(|id| id / OBSERVATIONS_PER_TASK <= last)
        .collect();
    let ranges = self::ranges(&rows.tasks, FILES_PER_TASK);
    let files = FILES.fetch::<(i64,)>(writer, &ranges).await?;
    rows.files = files.into_iter().map(|(id,)| id).collect();
    Ok(())
}

/// Returns for each task the id of its first row, and that of the first row of the next task.
fn ranges(tasks: &[i64], rows_per_task: i64) -> Vec<[Value<'static>; 2]> {
    let range = |seq: &i64| {
        [
            (seq * rows_per_task).into(),
            ((seq + 1) * rows_per_task).into(),
        ]
    };
    tasks.iter().map(range).collect()
}

async fn load_bodies(
    writer: &mut Writer,
    seqs: &[i64],
    cutoffs: &Cutoffs,
    rows: &mut Loadable,
) -> Result<(), StoreError> {
    let before = cutoffs.observations.as_millis();
    let given: Vec<_> = seqs
        .iter()
        .map(|seq| [(*seq).into(), before.into()])
        .collect();
    let mut found = BODIES.fetch::<(i64, i64)>(writer, &given).await?;
    found.sort_unstable();
    let mut bytes = 0;
    for (number, (id, length)) in found.iter().enumerate() {
        if bytes > BATCH_BYTES || number >= 4 * seqs.len().max(64) {
            // The next batch begins with the task of this one.
            rows.bodies_upto = Some(id / OBSERVATIONS_PER_TASK - 1);
            break;
        }
        bytes += length;
        rows.bodies.push(*id);
    }
    Ok(())
}

impl Ledger {
    /// Decides what of the requested deletion happens in this batch.
    pub fn delete_old(&mut self, _: &Deletion) -> Receipt {
        if self.retention.is_anothers || self.retention.lease.is_none() {
            return Receipt::NotDue;
        }
        let tasks: BTreeSet<i64> = self
            .records
            .iter()
            .filter_map(|record| record.seq)
            .chain(self.files.known.keys().map(|id| id.task_seq()))
            .collect();
        let rows = &mut self.retention.rows;
        rows.keep_tasks(&tasks);
        rows.quarantine.retain(|id| !self.replays.contains_key(id));
        let known = &self.deliveries.known;
        rows.deliveries
            .retain(|id| !known.keys().any(|known| known.0 == *id));
        if let (Some(events), Some((first, _))) = (&rows.events, known.first_key_value())
            && first.0 / DELIVERIES_PER_EVENT <= events.upto
        {
            rows.events = None;
        }
        Receipt::Deleted {
            rows: u32::try_from(rows.count()).unwrap_or(u32::MAX),
        }
    }
}

impl Loadable {
    /// Leaves `tasks` as they are.
    fn keep_tasks(&mut self, tasks: &BTreeSet<i64>) {
        let is_free = |id: &i64, rows_per_task: i64| !tasks.contains(&(id / rows_per_task));
        self.tasks.retain(|seq| is_free(seq, 1));
        self.observations
            .retain(|id| is_free(id, OBSERVATIONS_PER_TASK));
        self.files.retain(|id| is_free(id, FILES_PER_TASK));
        self.bodies.retain(|id| is_free(id, OBSERVATIONS_PER_TASK));
    }

    fn count(&self) -> usize {
        let events = self.events.as_ref().map_or(0, |events| events.count);
        let others = [
            &self.tasks,
            &self.bodies,
            &self.deliveries,
            &self.quarantine,
        ];
        let others: usize = others.iter().map(|rows| rows.len()).sum();
        usize::try_from(events).unwrap_or(0) + others + self.keys.len()
    }
}
