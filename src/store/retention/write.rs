//! Deletes the rows that a batch may delete.

use super::load::{Events, Loadable};
use crate::domain::delivery::Lease;
use crate::store::engine::rows::Rows;
use crate::store::engine::script::Script;
use crate::store::recorder::ledger::Ledger;

static RENEW_LEASE: Rows<3> = Rows::update("janitor", ["id", "holder", "lease_until"]);
static BODIES_UPTO: Rows<2> = Rows::update("janitor", ["id", "bodies_upto"]);
static DELIVERIES_UPTO: Rows<2> = Rows::update("janitor", ["id", "deliveries_upto"]);
static RAN: Rows<2> = Rows::update("janitor", ["id", "ran_at"]);

static EXPORTED: Rows<2> = Rows::new(
    "INSERT INTO exported_task (task_seq, event_seq) SELECT * FROM",
    "WHERE column1 IS NOT NULL ON CONFLICT (task_seq) DO UPDATE SET event_seq = excluded.event_seq",
);

// The given value follows the last event or delivery.
static ATTEMPTS_BEFORE: Rows<1> = Rows::new(
    "DELETE FROM failed_attempt WHERE delivery_id < (SELECT max(column1) FROM",
    ")",
);
static DELIVERIES_BEFORE: Rows<1> = Rows::new(
    "DELETE FROM delivery WHERE id < (SELECT max(column1) FROM",
    ")",
);
static EVENTS_BEFORE: Rows<1> = Rows::new(
    "DELETE FROM event WHERE seq < (SELECT max(column1) FROM",
    ")",
);

static ATTEMPTS: Rows<1> = Rows::new(
    "DELETE FROM failed_attempt WHERE delivery_id IN (SELECT column1 FROM",
    ")",
);
static DELIVERIES: Rows<1> =
    Rows::new("DELETE FROM delivery WHERE id IN (SELECT column1 FROM", ")");

static UNANSWERED: Rows<1> = Rows::new(
    "DELETE FROM unanswered_submit WHERE submission_id IN (SELECT task.submission_id FROM",
    "CROSS JOIN task WHERE task.seq = given.column1)",
);
static SUBMIT_ENDS: Rows<1> = Rows::new(
    "DELETE FROM submit_end WHERE task_seq IN (SELECT column1 FROM",
    ")",
);
static EXPORTS: Rows<1> = Rows::new(
    "DELETE FROM exported_task WHERE task_seq IN (SELECT column1 FROM",
    ")",
);
static OBSERVATIONS: Rows<1> = Rows::new(
    "DELETE FROM observation WHERE id IN (SELECT column1 FROM",
    ")",
);
static FILES: Rows<1> = Rows::new("DELETE FROM result WHERE id IN (SELECT column1 FROM", ")");
static TASKS: Rows<1> = Rows::new("DELETE FROM task WHERE seq IN (SELECT column1 FROM", ")");

/// A body that was deleted is empty. The row still says when the observation came, and how.
static BODIES: Rows<2> = Rows::update("observation", ["id", "body"]);

// The same batch may have counted a repeat, or have used a key again.
static QUARANTINE: Rows<2> = Rows::new(
    "DELETE FROM quarantine WHERE id IN (SELECT entry.id FROM",
    "CROSS JOIN quarantine AS entry WHERE entry.id = given.column1 AND entry.last_at < given.column2)",
);
static KEYS: Rows<2> = Rows::new(
    "DELETE FROM idempotency WHERE name IN (SELECT one.name FROM",
    "CROSS JOIN idempotency AS one WHERE one.name = given.column1 AND one.made_at < given.column2)",
);

/// Deletes, and renews the lease of the janitor.
pub fn write(script: &mut Script, ledger: &Ledger) -> Result<(), sqlx::Error> {
    let Some(Lease { holder, until }) = &ledger.retention.lease else {
        return Ok(());
    };
    let rows = &ledger.retention.rows;
    let lease = [1.into(), holder.as_str().into(), until.as_millis().into()];
    RENEW_LEASE.add_to(script, &[lease])?;
    if rows.is_done {
        RAN.add_to(script, &[[1.into(), ledger.now.as_millis().into()]])?;
    }
    if let Some(upto) = rows.bodies_upto {
        BODIES_UPTO.add_to(script, &[[1.into(), upto.into()]])?;
    }
    if let Some(upto) = rows.deliveries_upto {
        DELIVERIES_UPTO.add_to(script, &[[1.into(), upto.into()]])?;
    }
    if let Some(events) = &rows.events {
        delete_events(script, events)?;
    }
    delete_tasks(script, rows)?;
    delete_others(script, rows)
}

fn delete_events(script: &mut Script, events: &Events) -> Result<(), sqlx::Error> {
    let exported = events.exported.iter();
    let exported: Vec<_> = exported
        .map(|exported| [exported.task.into(), exported.event.into()])
        .collect();
    EXPORTED.add_to(script, &exported)?;
    let next = events.upto + 1;
    ATTEMPTS_BEFORE.add_to(script, &[[(next * 1024).into()]])?;
    DELIVERIES_BEFORE.add_to(script, &[[(next * 1024).into()]])?;
    EVENTS_BEFORE.add_to(script, &[[next.into()]])
}

fn delete_tasks(script: &mut Script, rows: &Loadable) -> Result<(), sqlx::Error> {
    let one = |id: &i64| [(*id).into()];
    let tasks: Vec<_> = rows.tasks.iter().map(one).collect();
    let observations: Vec<_> = rows.observations.iter().map(one).collect();
    let files: Vec<_> = rows.files.iter().map(one).collect();
    OBSERVATIONS.add_to(script, &observations)?;
    FILES.add_to(script, &files)?;
    for statement in [&UNANSWERED, &SUBMIT_ENDS, &EXPORTS, &TASKS] {
        statement.add_to(script, &tasks)?;
    }
    let bodies: Vec<_> = rows
        .bodies
        .iter()
        .map(|id| [(*id).into(), [].as_slice().into()])
        .collect();
    BODIES.add_to(script, &bodies)
}

fn delete_others(script: &mut Script, rows: &Loadable) -> Result<(), sqlx::Error> {
    let ids: Vec<_> = rows.deliveries.iter().map(|id| [(*id).into()]).collect();
    ATTEMPTS.add_to(script, &ids)?;
    DELIVERIES.add_to(script, &ids)?;
    let before = rows.quarantine_before.as_millis();
    let ids: Vec<_> = rows
        .quarantine
        .iter()
        .map(|id| [(*id).into(), before.into()])
        .collect();
    QUARANTINE.add_to(script, &ids)?;
    let before = rows.keys_before.as_millis();
    let names: Vec<_> = rows
        .keys
        .iter()
        .map(|name| [name.as_str().into(), before.into()])
        .collect();
    KEYS.add_to(script, &names)
}
