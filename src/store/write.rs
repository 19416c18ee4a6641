//! The second half of a batch: writes what a `Ledger` holds, each table once.

use super::StoreError;
use super::ledger::Ledger;
use super::quarantine;
use super::record::{CHANGED_COLUMN_COUNT, COLUMN_COUNT, OBSERVATIONS_PER_TASK, record_columns};
use super::rows::Rows;
use super::writer::{Writer, on_writer};
use crate::domain::observation::Source;

static INSERT_TASKS: Rows<COLUMN_COUNT> = Rows::new(
    concat!("INSERT INTO task (", record_columns!(), ") SELECT * FROM"),
    "WHERE column1 IS NOT NULL",
);

static UPDATE_TASKS: Rows<CHANGED_COLUMN_COUNT> = Rows::new(
    "UPDATE task SET task_id = given.column2, state = given.column3, progress = given.column4, source = given.column5,
        results_digest = given.column6, refusal = given.column7, observations = given.column8, shown = given.column9,
        outcome_at = given.column10, next_poll_at = given.column11, polled_at = given.column12, polls = given.column13,
        empty_polls = given.column14, missed_polls = given.column15 FROM",
    "WHERE task.seq = given.column1",
);

static INSERT_OBSERVATIONS: Rows<5> = Rows::new(
    "INSERT INTO observation (id, source, result, at, body) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
);

static INSERT_EVENTS: Rows<5> = Rows::new(
    "INSERT INTO event (task_seq, type, source, observation, at) SELECT * FROM",
    "WHERE column1 IS NOT NULL",
);

static DELETE_KEYS: Rows<2> = Rows::new(
    "DELETE FROM idempotency WHERE (name, submission_id) IN (SELECT column1, column2 FROM",
    ")",
);

static INSERT_KEYS: Rows<4> = Rows::new(
    "INSERT INTO idempotency (name, fingerprint, submission_id, made_at) SELECT * FROM",
    "WHERE column1 IS NOT NULL ON CONFLICT (name) DO UPDATE SET fingerprint = excluded.fingerprint,
        submission_id = excluded.submission_id, made_at = excluded.made_at",
);

/// Writes all that is new in `ledger`. The caller owns the transaction.
pub async fn write(writer: &mut Writer, ledger: &mut Ledger) -> Result<(), StoreError> {
    ledger.touched.sort_unstable();
    ledger.touched.dedup();
    insert_tasks(writer, ledger).await?;
    update_tasks(writer, ledger).await?;
    insert_observations(writer, ledger).await?;
    write_quarantine(writer, ledger).await?;
    insert_events(writer, ledger).await?;
    write_keys(writer, ledger).await
}

/// Numbers the new tasks here: nobody else adds any meanwhile, and to have the database tell each number costs more than
/// to ask for the last.
async fn insert_tasks(writer: &mut Writer, ledger: &mut Ledger) -> Result<(), StoreError> {
    const LAST: &str = "SELECT max(seq) FROM task";
    if ledger.records.iter().all(|record| record.seq.is_some()) {
        return Ok(());
    }
    let last: Option<i64> =
        on_writer!(writer, connection => sqlx::query_scalar(LAST).fetch_one(connection))?;
    let mut seq = last.unwrap_or(0);
    let mut new = Vec::new();
    for (index, record) in ledger.records.iter_mut().enumerate() {
        if record.seq.is_none() {
            seq += 1;
            record.seq = Some(seq);
            new.push((index, seq, record.task.submission_id.to_string()));
        }
    }
    let rows: Vec<_> = new
        .iter()
        .map(|(index, seq, id)| ledger.records[*index].values(*seq, id))
        .collect();
    INSERT_TASKS.execute(writer, &rows).await?;
    // What is inserted as it is needs no update.
    let is_inserted = |index: &usize| new.binary_search_by_key(index, |(new, ..)| *new).is_ok();
    ledger.touched.retain(|index| !is_inserted(index));
    Ok(())
}

async fn update_tasks(writer: &mut Writer, ledger: &Ledger) -> Result<(), StoreError> {
    let touched = ledger.touched.iter().map(|&index| &ledger.records[index]);
    let rows: Vec<_> = touched
        .filter_map(|record| Some(record.changed_values(record.seq?)))
        .collect();
    Ok(UPDATE_TASKS.execute(writer, &rows).await?)
}

async fn insert_observations(writer: &mut Writer, ledger: &Ledger) -> Result<(), StoreError> {
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
    Ok(INSERT_OBSERVATIONS.execute(writer, &rows).await?)
}

async fn insert_events(writer: &mut Writer, ledger: &Ledger) -> Result<(), StoreError> {
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
    Ok(INSERT_EVENTS.execute(writer, &rows).await?)
}

/// Conflicts are told of once, when they are new to quarantine.
async fn write_quarantine(writer: &mut Writer, ledger: &mut Ledger) -> Result<(), StoreError> {
    let quarantined = std::mem::take(&mut ledger.quarantined);
    if !quarantined.is_empty() {
        let told = quarantine::keep(writer, quarantined, ledger.now).await?;
        ledger.events.extend(told);
    }
    Ok(())
}

async fn write_keys(writer: &mut Writer, ledger: &Ledger) -> Result<(), StoreError> {
    let freed = ledger.keys_freed.iter();
    let freed: Vec<_> = freed.map(|(name, id)| (name, id.to_string())).collect();
    let rows: Vec<_> = freed
        .iter()
        .map(|(name, id)| [name.as_str().into(), id.as_str().into()])
        .collect();
    DELETE_KEYS.execute(writer, &rows).await?;
    let made = ledger.keys_made.iter();
    let made: Vec<_> = made
        .filter_map(|name| ledger.keys.get(name))
        .map(|(key, id)| (key, id.to_string()))
        .collect();
    let now = ledger.now.as_millis();
    let rows: Vec<_> = made
        .iter()
        .map(|(key, id)| {
            [
                key.name.as_str().into(),
                key.fingerprint.as_slice().into(),
                id.as_str().into(),
                now.into(),
            ]
        })
        .collect();
    Ok(INSERT_KEYS.execute(writer, &rows).await?)
}
