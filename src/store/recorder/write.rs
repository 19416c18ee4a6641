//! The second half of a batch: writes what a `Ledger` holds, each table with one statement, and
//! commits.

use super::ledger::Ledger;
use super::record::{CHANGING_COLUMNS, COLUMNS, OBSERVATIONS_PER_TASK};
use crate::domain::delivery::routes::Routes;
use crate::store::StoreError;
use crate::store::deliveries;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::engine::writer::{Last, Writer};
use crate::store::key_use;
use crate::store::quarantine;
use crate::store::quarantine::Bounds;
use crate::store::repeats;
use crate::store::results;
use crate::store::retention;

static INSERT_TASKS: Rows<{ COLUMNS.len() }> = Rows::insert("task", COLUMNS);
static UPDATE_TASKS: Rows<{ CHANGING_COLUMNS.len() }> = Rows::update("task", CHANGING_COLUMNS);

/// Updates only the number of observations. A repeat changes nothing else, and setting an indexed
/// column rewrites its index entry even if the value is the same.
static UPDATE_COUNTS: Rows<2> = Rows::update("task", ["seq", "observations"]);

static INSERT_OBSERVATIONS: Rows<5> =
    Rows::insert("observation", ["id", "source", "result", "at", "body"]);

static INSERT_EVENTS: Rows<6> = Rows::insert(
    "event",
    ["seq", "task_seq", "type", "source", "observation", "at"],
);

// The end of a submit may be recorded again. The first one counts.
static INSERT_SUBMIT_ENDS: Rows<3> = Rows::new(
    "INSERT INTO submit_end (task_seq, result, at) SELECT * FROM",
    "WHERE column1 IS NOT NULL ON CONFLICT (task_seq) DO NOTHING",
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

/// Writes everything new in `ledger`, and ends the transaction. `last` has the numbers after which
/// the new tasks and events are numbered.
pub async fn write_and_commit(
    writer: &mut Writer,
    ledger: &mut Ledger,
    last: Last,
    bounds: &Bounds,
    routes: &Routes,
) -> Result<(), StoreError> {
    let new = number_tasks(ledger, last.task);
    let quarantined = std::mem::take(&mut ledger.quarantined);
    if !quarantined.is_empty() {
        ledger.kept = quarantine::keep(writer, quarantined, bounds, ledger.now).await?;
        for new in std::mem::take(&mut ledger.kept.conflicts) {
            ledger.publish_conflict(new);
        }
    }
    let mut script = Script::new(writer);
    // First, so that nothing new is among what is deleted.
    retention::write(&mut script, ledger)?;
    insert_tasks(&mut script, ledger, &new)?;
    update_tasks(&mut script, ledger, &new)?;
    update_counts(&mut script, ledger, &new)?;
    insert_observations(&mut script, ledger)?;
    insert_events(&mut script, ledger, last.events.newest)?;
    deliveries::insert(&mut script, ledger, last.events.newest, routes)?;
    deliveries::write(&mut script, ledger)?;
    results::insert(&mut script, ledger)?;
    results::write(&mut script, ledger)?;
    insert_submit_ends(&mut script, ledger)?;
    quarantine::mark(&mut script, ledger)?;
    write_keys(&mut script, ledger)?;
    repeats::write(&mut script, &ledger.unanswered)?;
    key_use::write(&mut script, ledger)?;
    script.commit();
    script.run(writer).await
}

/// Numbers the new tasks, and returns their indexes. The write lock keeps other processes from
/// adding any meanwhile. If the database assigned the numbers, it would have to return a row for
/// each.
fn number_tasks(ledger: &mut Ledger, last: i64) -> Vec<usize> {
    let mut new = Vec::new();
    let mut seq = last;
    for (index, record) in ledger.records.iter_mut().enumerate() {
        if record.seq.is_none() {
            seq += 1;
            record.seq = Some(seq);
            new.push(index);
        }
    }
    new
}

fn insert_tasks(script: &mut Script, ledger: &Ledger, new: &[usize]) -> Result<(), sqlx::Error> {
    let records = new.iter().map(|&index| &ledger.records[index]);
    let records: Vec<_> = records
        .map(|record| (record, record.task.submission_id.to_string()))
        .collect();
    let rows: Vec<_> = records
        .iter()
        .filter_map(|(record, id)| Some(record.values(record.seq?, id)))
        .collect();
    INSERT_TASKS.add_to(script, &rows)
}

/// Updates the changed tasks. New ones were inserted in their final state.
fn update_tasks(
    script: &mut Script,
    ledger: &mut Ledger,
    new: &[usize],
) -> Result<(), sqlx::Error> {
    ledger.touched.sort_unstable();
    ledger.touched.dedup();
    let touched = ledger.touched.iter();
    let rows: Vec<_> = touched
        .filter(|index| new.binary_search(index).is_err())
        .map(|&index| &ledger.records[index])
        .filter_map(|record| Some(record.changed_values(record.seq?)))
        .collect();
    UPDATE_TASKS.add_to(script, &rows)
}

fn update_counts(
    script: &mut Script,
    ledger: &mut Ledger,
    new: &[usize],
) -> Result<(), sqlx::Error> {
    ledger.counted.sort_unstable();
    ledger.counted.dedup();
    let is_written = |index: &usize| {
        new.binary_search(index).is_ok() || ledger.touched.binary_search(index).is_ok()
    };
    let counted = ledger.counted.iter().filter(|index| !is_written(index));
    let rows: Vec<_> = counted
        .map(|&index| &ledger.records[index])
        .filter_map(|record| Some([record.seq?.into(), i64::from(record.observations).into()]))
        .collect();
    UPDATE_COUNTS.add_to(script, &rows)
}

fn insert_observations(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let now = ledger.now.as_millis();
    let kept = ledger.observations.iter();
    let rows: Vec<_> = kept
        .filter_map(|observation| {
            let seq = ledger.records[observation.record].seq?;
            Some([
                (seq * OBSERVATIONS_PER_TASK + i64::from(observation.number)).into(),
                observation.source.into_str().into(),
                observation.verdict.into_str().into(),
                now.into(),
                observation.body.as_ref().into(),
            ])
        })
        .collect();
    INSERT_OBSERVATIONS.add_to(script, &rows)
}

/// Numbers the events in order, starting after `last`, and inserts them. The write lock keeps other
/// processes from adding any meanwhile. Numbers from the database would have gaps, because a batch
/// that is rolled back does not return its numbers.
fn insert_events(script: &mut Script, ledger: &Ledger, last: i64) -> Result<(), sqlx::Error> {
    let now = ledger.now.as_millis();
    let events = (last + 1..).zip(&ledger.events);
    let rows: Vec<_> = events
        .filter_map(|(seq, event)| {
            Some([
                seq.into(),
                ledger.records[event.record].seq?.into(),
                event.event_type.into_str().into(),
                event.source.map(<&str>::from).into(),
                event.observation.map(i64::from).into(),
                now.into(),
            ])
        })
        .collect();
    INSERT_EVENTS.add_to(script, &rows)
}

fn insert_submit_ends(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let now = ledger.now.as_millis();
    let ends = ledger.submit_ends.iter();
    let rows: Vec<_> = ends
        .filter_map(|(record, end)| {
            let seq = ledger.records[*record].seq?;
            Some([seq.into(), end.into_str().into(), now.into()])
        })
        .collect();
    INSERT_SUBMIT_ENDS.add_to(script, &rows)
}

fn write_keys(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let freed = ledger.keys_freed.iter();
    let freed: Vec<_> = freed.map(|(name, id)| (name, id.to_string())).collect();
    let rows: Vec<_> = freed
        .iter()
        .map(|(name, id)| [name.as_str().into(), id.as_str().into()])
        .collect();
    DELETE_KEYS.add_to(script, &rows)?;
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
    INSERT_KEYS.add_to(script, &rows)
}
