//! A batch on its way to the disk: loads what a `Ledger` needs and writes what it holds, each table once.

use std::time::Duration;

use sqlx::{Row as _, SqliteConnection};

use super::StoreError;
use super::entry::{Entry, Idempotency};
use super::ledger::{Ledger, NewEvent};
use super::quarantine;
use super::record::{COLUMN_COUNT, OBSERVATIONS_PER_TASK, Record, RecordRow, record_columns};
use super::rows::Rows;
use crate::domain::callback_token::Subject;
use crate::domain::ids::SubmissionId;
use crate::domain::observation::Source;
use crate::domain::polling::Pace;
use crate::domain::timestamp::Timestamp;

/// How long an `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_secs(24 * 3600);

const LOAD_BY_SUBMISSION: &str = concat!(
    "SELECT seq, ",
    record_columns!(),
    " FROM task WHERE submission_id IN (SELECT value FROM json_each($1))"
);

const LOAD_BY_TASK: &str = concat!(
    "SELECT seq, ",
    record_columns!(),
    " FROM task WHERE task_id IN (SELECT value FROM json_each($1))"
);

const LOAD_KEYS: &str = "SELECT name, fingerprint, submission_id FROM idempotency
    WHERE name IN (SELECT value FROM json_each($1)) AND made_at > $2";

static INSERT_TASKS: Rows<COLUMN_COUNT> = Rows::new(
    concat!("INSERT INTO task (", record_columns!(), ") SELECT * FROM"),
    "WHERE column1 IS NOT NULL RETURNING seq, submission_id",
);

static UPDATE_TASKS: Rows<15> = Rows::new(
    "UPDATE task SET task_id = row.column2, state = row.column3, progress = row.column4, source = row.column5,
        results_digest = row.column6, refusal = row.column7, observations = row.column8, shown = row.column9,
        outcome_at = row.column10, next_poll_at = row.column11, polled_at = row.column12, polls = row.column13,
        empty_polls = row.column14, missed_polls = row.column15 FROM",
    "AS row WHERE task.seq = row.column1",
);

static INSERT_OBSERVATIONS: Rows<5> = Rows::new(
    "INSERT INTO observation (id, source, result, at, body) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
);

static INSERT_EVENTS: Rows<5> = Rows::new(
    "INSERT INTO event (task_seq, type, source, observation, at) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
);

/// A ledger with every record that `entries` may concern.
pub async fn load(
    connection: &mut SqliteConnection,
    entries: &[&Entry],
    now: Timestamp,
    pace: Pace,
) -> Result<Ledger, StoreError> {
    let mut ledger = Ledger::new(now, pace);
    let submissions: Vec<String> = entries
        .iter()
        .filter_map(|entry| submission_of(entry))
        .map(|id| id.to_string())
        .collect();
    load_records(connection, &mut ledger, LOAD_BY_SUBMISSION, &submissions).await?;
    // Whose task an id is matters only where it is not the one bound already.
    let unbound: Vec<String> = entries
        .iter()
        .filter_map(|entry| unbound_task_of(&ledger, entry))
        .collect();
    load_records(connection, &mut ledger, LOAD_BY_TASK, &unbound).await?;
    let keys: Vec<&str> = entries
        .iter()
        .filter_map(|entry| idempotency_of(entry))
        .collect();
    load_keys(connection, &mut ledger, &keys).await?;
    Ok(ledger)
}

async fn load_records(
    connection: &mut SqliteConnection,
    ledger: &mut Ledger,
    sql: &'static str,
    names: &[String],
) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    let rows: Vec<RecordRow> = sqlx::query_as(sql)
        .bind(json_list(names))
        .fetch_all(connection)
        .await?;
    for row in rows {
        ledger.add(Record::try_from(row)?);
    }
    Ok(())
}

async fn load_keys(
    connection: &mut SqliteConnection,
    ledger: &mut Ledger,
    names: &[&str],
) -> Result<(), StoreError> {
    if names.is_empty() {
        return Ok(());
    }
    let oldest = ledger.now().before(IDEMPOTENCY_KEPT).as_millis();
    let rows: Vec<(String, Vec<u8>, String)> = sqlx::query_as(LOAD_KEYS)
        .bind(json_list(names))
        .bind(oldest)
        .fetch_all(connection)
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

/// Writes all that is new in `ledger`. The caller owns the transaction.
pub async fn write(
    connection: &mut SqliteConnection,
    ledger: &mut Ledger,
) -> Result<(), StoreError> {
    ledger.touched.sort_unstable();
    ledger.touched.dedup();
    insert_tasks(connection, ledger).await?;
    update_tasks(connection, ledger).await?;
    insert_observations(connection, ledger).await?;
    write_quarantine(connection, ledger).await?;
    insert_events(connection, ledger).await?;
    write_keys(connection, ledger).await
}

async fn insert_tasks(
    connection: &mut SqliteConnection,
    ledger: &mut Ledger,
) -> Result<(), StoreError> {
    let new: Vec<usize> = (0..ledger.records.len())
        .filter(|&index| ledger.records[index].seq.is_none())
        .collect();
    if new.is_empty() {
        return Ok(());
    }
    ledger
        .touched
        .retain(|index| ledger.records[*index].seq.is_some());
    let ids: Vec<String> = new
        .iter()
        .map(|&index| ledger.records[index].task.submission_id.to_string())
        .collect();
    let rows: Vec<_> = new
        .iter()
        .zip(&ids)
        .map(|(&index, id)| ledger.records[index].values(id))
        .collect();
    let mut seqs = std::collections::HashMap::new();
    for row in INSERT_TASKS.run(connection, &rows).await? {
        seqs.insert(
            row.try_get::<String, _>("submission_id")?,
            row.try_get::<i64, _>("seq")?,
        );
    }
    for (&index, id) in new.iter().zip(&ids) {
        ledger.records[index].seq = seqs.get(id).copied();
    }
    Ok(())
}

async fn update_tasks(
    connection: &mut SqliteConnection,
    ledger: &Ledger,
) -> Result<(), StoreError> {
    let touched = ledger.touched.iter().map(|&index| &ledger.records[index]);
    let rows: Vec<_> = touched
        .filter_map(|record| Some(record.changed_values(record.seq?)))
        .collect();
    UPDATE_TASKS.run(connection, &rows).await?;
    Ok(())
}

async fn insert_observations(
    connection: &mut SqliteConnection,
    ledger: &Ledger,
) -> Result<(), StoreError> {
    let now = ledger.now().as_millis();
    let kept = ledger.observations.iter();
    let rows: Vec<_> = kept
        .filter_map(|observation| {
            let seq = ledger.records[observation.record].seq?;
            Some([
                (seq * OBSERVATIONS_PER_TASK + i64::from(observation.number)).into(),
                observation.source.as_str().into(),
                observation.verdict.as_str().into(),
                now.into(),
                observation.body.as_ref().into(),
            ])
        })
        .collect();
    INSERT_OBSERVATIONS.run(connection, &rows).await?;
    Ok(())
}

async fn insert_events(
    connection: &mut SqliteConnection,
    ledger: &Ledger,
) -> Result<(), StoreError> {
    let now = ledger.now().as_millis();
    let rows: Vec<_> = ledger
        .events
        .iter()
        .filter_map(|event| {
            Some([
                ledger.records[event.record].seq?.into(),
                event.event_type.as_str().into(),
                event.source.map(Source::as_str).into(),
                event.observation.map(i64::from).into(),
                now.into(),
            ])
        })
        .collect();
    INSERT_EVENTS.run(connection, &rows).await?;
    Ok(())
}

async fn write_quarantine(
    connection: &mut SqliteConnection,
    ledger: &mut Ledger,
) -> Result<(), StoreError> {
    let mut told: Vec<NewEvent> = Vec::new();
    for quarantined in std::mem::take(&mut ledger.quarantined) {
        let kept = quarantine::keep(connection, &quarantined, ledger.now()).await?;
        told.extend(quarantined.event.filter(|_| kept == quarantine::Kept::New));
    }
    ledger.events.append(&mut told);
    Ok(())
}

async fn write_keys(connection: &mut SqliteConnection, ledger: &Ledger) -> Result<(), StoreError> {
    for name in &ledger.keys_freed {
        sqlx::query("DELETE FROM idempotency WHERE name = $1")
            .bind(name)
            .execute(&mut *connection)
            .await?;
    }
    for name in &ledger.keys_made {
        let Some((key, submission_id)) = ledger.keys.get(name) else {
            continue;
        };
        sqlx::query(
            "INSERT INTO idempotency (name, fingerprint, submission_id, made_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint,
                submission_id = excluded.submission_id, made_at = excluded.made_at",
        )
        .bind(name)
        .bind(key.fingerprint.as_slice())
        .bind(submission_id.to_string())
        .bind(ledger.now().as_millis())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}

fn submission_of(entry: &Entry) -> Option<SubmissionId> {
    match entry {
        Entry::Intent(_) => None,
        Entry::Observed { subject, .. } | Entry::Unreadable { subject, .. } => match subject {
            Subject::Submission(id) => Some(*id),
            Subject::Standing(_) => None,
        },
        Entry::SubmitEnded { submission_id, .. }
        | Entry::PollEnded { submission_id, .. }
        | Entry::GaveUp { submission_id } => Some(*submission_id),
    }
}

fn unbound_task_of(ledger: &Ledger, entry: &Entry) -> Option<String> {
    let Entry::Observed {
        subject,
        observation,
        ..
    } = entry
    else {
        return None;
    };
    let bound = match subject {
        Subject::Submission(id) => ledger
            .of_submission(*id)
            .and_then(|record| record.task.task_id.as_ref()),
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

fn json_list<T: serde::Serialize>(names: &[T]) -> String {
    serde_json::to_string(names).expect("texts have a JSON form")
}
