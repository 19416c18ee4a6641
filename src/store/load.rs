//! The first half of a batch: loads every record that its entries may concern into a `Ledger`.

use std::time::Duration;

use sqlx::SqliteConnection;

use super::StoreError;
use super::entry::{Entry, Idempotency};
use super::ledger::Ledger;
use super::record::{Record, RecordRow, record_columns};
use crate::domain::callback_token::Subject;
use crate::domain::ids::SubmissionId;
use crate::domain::polling::Pace;
use crate::domain::timestamp::Timestamp;

/// How long an `Idempotency-Key` is remembered.
pub const IDEMPOTENCY_KEPT: Duration = Duration::from_hours(24);

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
    let oldest = ledger.now.before(IDEMPOTENCY_KEPT).as_millis();
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
