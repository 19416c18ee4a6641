//! The second half of a batch: writes what a `Ledger` holds, each table once.

use std::collections::HashMap;

use sqlx::{Row as _, SqliteConnection};

use super::StoreError;
use super::ledger::{Ledger, NewEvent};
use super::quarantine;
use super::record::{CHANGED_COLUMN_COUNT, COLUMN_COUNT, OBSERVATIONS_PER_TASK, record_columns};
use super::rows::Rows;
use crate::domain::observation::Source;

static INSERT_TASKS: Rows<COLUMN_COUNT> = Rows::new(
    concat!("INSERT INTO task (", record_columns!(), ") SELECT * FROM"),
    "WHERE column1 IS NOT NULL RETURNING seq, submission_id",
);

static UPDATE_TASKS: Rows<CHANGED_COLUMN_COUNT> = Rows::new(
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
    let mut seqs = HashMap::new();
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
    let now = ledger.now.as_millis();
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
    let now = ledger.now.as_millis();
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
        let kept = quarantine::keep(connection, &quarantined, ledger.now).await?;
        told.extend(quarantined.event.filter(|_| kept == quarantine::Kept::New));
    }
    ledger.events.append(&mut told);
    Ok(())
}

async fn write_keys(connection: &mut SqliteConnection, ledger: &Ledger) -> Result<(), StoreError> {
    for (name, submission_id) in &ledger.keys_freed {
        sqlx::query("DELETE FROM idempotency WHERE name = $1 AND submission_id = $2")
            .bind(name)
            .bind(submission_id.to_string())
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
        .bind(ledger.now.as_millis())
        .execute(&mut *connection)
        .await?;
    }
    Ok(())
}
