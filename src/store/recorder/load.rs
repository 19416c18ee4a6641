//! The first half of a batch: loads every record that its entries may concern into a `Ledger`.

use std::time::Duration;

use bytes::Bytes;

use super::entry::{Entry, FileEntry, Idempotency};
use super::ledger::Ledger;
use super::record::{OBSERVATIONS_PER_TASK, Record, RecordRow, record_columns};
use crate::domain::callback::Subject;
use crate::domain::ids::SubmissionId;
use crate::domain::task::confirmation::Policy;
use crate::domain::timestamp::Timestamp;
use crate::store::StoreError;
use crate::store::deliveries;
use crate::store::engine::rows::Rows;
use crate::store::engine::writer::Writer;
use crate::store::key_use;
use crate::store::quarantine;
use crate::store::repeats;
use crate::store::results;
use crate::store::retention;

/// How long an `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_hours(24);

// With CROSS JOIN, SQLite looks up each given value and never scans the whole table.
static LOAD_BY_SUBMISSION: Rows<1> = Rows::new(
    concat!("SELECT ", record_columns!(), " FROM"),
    "CROSS JOIN task WHERE task.submission_id = given.column1",
);

static LOAD_BY_TASK: Rows<1> = Rows::new(
    concat!("SELECT ", record_columns!(), " FROM"),
    "CROSS JOIN task WHERE task.task_id = given.column1",
);

static LOAD_BY_SEQ: Rows<1> = Rows::new(
    concat!("SELECT ", record_columns!(), " FROM"),
    "CROSS JOIN task WHERE task.seq = given.column1",
);

static LOAD_BODIES: Rows<1> = Rows::new(
    "SELECT observation.id, observation.body FROM",
    "CROSS JOIN observation WHERE observation.id = given.column1",
);

static LOAD_KEYS: Rows<2> = Rows::new(
    "SELECT name, fingerprint, submission_id FROM",
    "CROSS JOIN idempotency WHERE idempotency.name = given.column1 AND idempotency.made_at > given.column2",
);

/// Returns a ledger with every record that `entries` may concern. `shared`: other processes may
/// have the store open too.
pub async fn load(
    writer: &mut Writer,
    entries: &[&Entry],
    now: Timestamp,
    policy: Policy,
    shared: bool,
) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger::new(now, policy);
    let submissions: Vec<String> = entries
        .iter()
        .filter_map(|entry| submission_of(entry))
        .map(|id| id.to_string())
        .collect();
    load_records(writer, &mut ledger, &LOAD_BY_SUBMISSION, &submissions).await?;
    // The holder of a task id matters only where it is not the task already bound.
    let unbound: Vec<String> = entries
        .iter()
        .filter_map(|entry| unbound_task_of(&ledger, entry))
        .collect();
    load_records(writer, &mut ledger, &LOAD_BY_TASK, &unbound).await?;
    let keys: Vec<&str> = entries
        .iter()
        .filter_map(|entry| idempotency_of(entry))
        .collect();
    load_keys(writer, &mut ledger, &keys).await?;
    load_published(writer, entries, &mut ledger).await?;
    ledger.replays = quarantine::load(writer, entries).await?;
    ledger.deliveries = deliveries::load(writer, entries, now, shared).await?;
    ledger.unanswered = repeats::load(writer, entries, now).await?;
    ledger.uses = key_use::load(writer, entries).await?;
    ledger.files = results::load(writer, entries).await?;
    ledger.retention = retention::load(writer, entries, now, shared).await?;
    load_tasks_of_files(writer, entries, &mut ledger).await?;
    Ok(ledger)
}

/// Loads the shown bodies of completed tasks about which an entry says something else.
async fn load_published(
    writer: &mut Writer,
    entries: &[&Entry],
    ledger: &mut Ledger,
) -> Result<(), StoreError> {
    let mut wanted: Vec<(i64, usize)> = entries
        .iter()
        .filter_map(|entry| published_of(ledger, entry))
        .collect();
    wanted.sort_unstable();
    wanted.dedup();
    let ids: Vec<_> = wanted.iter().map(|(id, _)| [(*id).into()]).collect();
    for (id, body) in LOAD_BODIES.fetch::<(i64, Vec<u8>)>(writer, &ids).await? {
        if let Ok(at) = wanted.binary_search_by_key(&id, |(id, _)| *id) {
            ledger.published.insert(wanted[at].1, Bytes::from(body));
        }
    }
    Ok(())
}

/// The id of the shown observation, and the index of its record, if the entry reports results that
/// differ from the published ones.
fn published_of(ledger: &Ledger, entry: &Entry) -> Option<(i64, usize)> {
    let (Entry::Observed { observation, .. } | Entry::FromQuarantine { observation, .. }) = entry
    else {
        return None;
    };
    let index = ledger.by_task.get(&observation.task_id).copied()?;
    let record = &ledger.records[index];
    let digest = record.task.accepted()?.results_digest()?;
    let differs = observation.has_results() && !observation.repeats(digest);
    let id = record.seq? * OBSERVATIONS_PER_TASK + i64::from(record.shown?);
    differs.then_some((id, index))
}

/// Loads the tasks of files whose fetch ended: their events tell of them.
async fn load_tasks_of_files(
    writer: &mut Writer,
    entries: &[&Entry],
    ledger: &mut Ledger,
) -> Result<(), StoreError> {
    let ended = entries.iter().filter_map(|entry| match entry {
        Entry::File(FileEntry::Ended { id, .. }) => Some(id.task_seq()),
        _ => None,
    });
    let mut seqs: Vec<i64> = ended.collect();
    seqs.sort_unstable();
    seqs.dedup();
    let seqs: Vec<_> = seqs.into_iter().map(|seq| [seq.into()]).collect();
    for row in LOAD_BY_SEQ.fetch::<RecordRow>(writer, &seqs).await? {
        let seq = row.seq;
        let index = ledger.add(Record::try_from(row)?);
        ledger.files.records.insert(seq, index);
    }
    Ok(())
}

async fn load_records(
    writer: &mut Writer,
    ledger: &mut Ledger,
    statement: &Rows<1>,
    names: &[String],
) -> Result<(), StoreError> {
    let names: Vec<_> = names.iter().map(|name| [name.as_str().into()]).collect();
    for row in statement.fetch::<RecordRow>(writer, &names).await? {
        ledger.add(Record::try_from(row)?);
    }
    Ok(())
}

async fn load_keys(
    writer: &mut Writer,
    ledger: &mut Ledger,
    names: &[&str],
) -> Result<(), StoreError> {
    let oldest = ledger.now.before(IDEMPOTENCY_KEPT).as_millis();
    let names: Vec<_> = names
        .iter()
        .map(|name| [(*name).into(), oldest.into()])
        .collect();
    let rows = LOAD_KEYS
        .fetch::<(String, Vec<u8>, String)>(writer, &names)
        .await?;
    for (name, fingerprint, submission_id) in rows {
        let corrupt = |column| StoreError::Corrupt {
            table: "idempotency",
            id: 0,
            column,
        };
        let fingerprint = fingerprint.try_into().map_err(|_| corrupt("fingerprint"))?;
        let submission_id = submission_id
            .parse()
            .map_err(|_| corrupt("submission_id"))?;
        ledger.keys.insert(
            name.clone(),
            (Idempotency { name, fingerprint }, submission_id),
        );
    }
    Ok(())
}

fn submission_of(entry: &Entry) -> Option<SubmissionId> {
    match entry {
        Entry::Intent(_)
        | Entry::DeliveryClaimed { .. }
        | Entry::DeliveryEnded { .. }
        | Entry::DeliveryRetried { .. }
        | Entry::HeldExpired { .. }
        | Entry::DeliveriesRetried { .. }
        | Entry::File(_)
        | Entry::Retention(_)
        | Entry::AppAnswered { .. }
        | Entry::AppLost { .. }
        | Entry::AppsWait { .. } => None,
        Entry::Observed { subject, .. }
        | Entry::Unreadable { subject, .. }
        | Entry::FromQuarantine { subject, .. } => match subject {
            Subject::Submission(id) => Some(*id),
            Subject::Standing(_) => None,
        },
        Entry::SubmitEnded { submission_id, .. }
        | Entry::PollBegun { submission_id, .. }
        | Entry::PollEnded { submission_id, .. }
        | Entry::GaveUp { submission_id } => Some(*submission_id),
    }
}

fn unbound_task_of(ledger: &Ledger, entry: &Entry) -> Option<String> {
    let (Entry::Observed {
        subject,
        observation,
        ..
    }
    | Entry::FromQuarantine {
        subject,
        observation,
        ..
    }) = entry
    else {
        return None;
    };
    let bound = match subject {
        Subject::Submission(id) => ledger
            .of_submission(*id)
            .and_then(|record| record.task.task_id()),
        Subject::Standing(_) => None,
    };
    (bound != Some(&observation.task_id)).then(|| observation.task_id.to_string())
}

fn idempotency_of(entry: &Entry) -> Option<&str> {
    match entry {
        Entry::Intent(intent) => intent.idempotency.as_ref().map(|key| key.name.as_str()),
        _ => None,
    }
}
