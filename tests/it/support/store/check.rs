//! Checks that must hold for a store, whatever happened to the receiver before.

use std::collections::{HashMap, HashSet};

use tempfile::TempDir;

use super::database::Database;
use super::test_store::TestStore;

/// A callback that was answered 2xx.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Acknowledged {
    pub task_id: String,
    pub body: String,
    pub is_outcome: bool,
}

/// Each entry names something that must never exist, and counts it.
const NEVER: [(&str, &str); 12] = [
    (
        "an outcome without its one event, or a second one",
        "SELECT count(*) FROM task WHERE CASE WHEN outcome_at IS NULL THEN 0 ELSE 1 END !=
            (SELECT count(*) FROM event WHERE task_seq = task.seq AND type = 'task.' || task.state
                AND state IN ('completed', 'failed', 'cancelled'))",
    ),
    (
        "two outcomes of one task",
        "SELECT count(*) FROM (SELECT 1 FROM event WHERE type IN ('task.completed', 'task.failed', 'task.cancelled')
            GROUP BY task_seq HAVING count(*) > 1) AS twice",
    ),
    (
        "a task whose count of observations is not theirs",
        "SELECT count(*) FROM task WHERE observations !=
            (SELECT count(*) FROM observation WHERE id BETWEEN task.seq * 1024 AND task.seq * 1024 + 1023)",
    ),
    (
        "an observation whose number is beyond its task's count",
        "SELECT count(*) FROM observation JOIN task ON task.seq = observation.id / 1024
            WHERE observation.id % 1024 >= task.observations",
    ),
    (
        "an observation of no task",
        "SELECT count(*) FROM observation WHERE id / 1024 NOT IN (SELECT seq FROM task)",
    ),
    (
        "an event of no task, or of no observation",
        "SELECT count(*) FROM event WHERE task_seq NOT IN (SELECT seq FROM task) OR observation IS NOT NULL
            AND task_seq * 1024 + observation NOT IN (SELECT id FROM observation)",
    ),
    (
        UNNUMBERED,
        "SELECT coalesce(max(seq) - min(seq) + 1, 0) - count(*) FROM event",
    ),
    (
        "a task that shows an observation that is not there",
        "SELECT count(*) FROM task WHERE shown IS NOT NULL AND seq * 1024 + shown NOT IN (SELECT id FROM observation)",
    ),
    (
        "a completed task without results or full progress",
        "SELECT count(*) FROM task WHERE state = 'completed' AND (results_digest IS NULL OR shown IS NULL)",
    ),
    (
        "a delivery of no event, or of one that tells of no outcome",
        "SELECT count(*) FROM delivery WHERE NOT EXISTS (SELECT 1 FROM event WHERE event.seq = delivery.event_seq
            AND event.task_seq = delivery.task_seq AND type IN ('task.completed', 'task.failed', 'task.cancelled'))",
    ),
    (
        "an outcome that is owed to one endpoint twice",
        "SELECT count(*) FROM (SELECT 1 FROM delivery GROUP BY event_seq, endpoint HAVING count(*) > 1) AS twice",
    ),
    (
        "an outcome that is not owed to the app's own address",
        "SELECT count(*) FROM task WHERE outcome_at IS NOT NULL AND callback_url IS NOT NULL
            AND (SELECT count(*) FROM delivery WHERE task_seq = task.seq AND url = callback_url) != 1",
    ),
];

/// Parts of the messages that `faults` returns.
pub const UNNUMBERED: &str = "a number that no event has, between two that have one";
pub const LOST: &str = "acknowledged callbacks are lost";

/// Returns what is wrong with the store; empty if nothing is lost or broken. Looks at a copy of a
/// SQLite store, because SQLite opens no file in another mount namespace. The receiver may be
/// running, but it must be idle.
pub async fn faults(store: &TestStore, acknowledged: &[Acknowledged]) -> Vec<String> {
    match look(store, acknowledged).await {
        Ok(faults) => faults,
        Err(error) => vec![format!("the store cannot be read: {error}")],
    }
}

/// Returns the id of every task in the store. Looks at a copy, like `faults`.
pub async fn task_ids(store: &TestStore) -> HashSet<String> {
    let (database, _folder) = open(store).await.unwrap();
    let ids = database.values("SELECT task_id FROM task", &[]).await;
    ids.into_iter().collect()
}

/// Opens a copy of a SQLite store, which lives as long as the folder, or a store on a server.
pub async fn open(store: &TestStore) -> Result<(Database, Option<TempDir>), sqlx::Error> {
    let Some(file) = store.file() else {
        return Ok((Database::try_connect(store.url()).await?, None));
    };
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.db");
    std::fs::copy(&file, &copy)?;
    let log = file.with_extension("db-wal");
    if log.exists() {
        std::fs::copy(&log, folder.path().join("copy.db-wal"))?;
    }
    let database = Database::try_connect(&format!("sqlite:{}", copy.display())).await?;
    Ok((database, Some(folder)))
}

async fn look(
    store: &TestStore,
    acknowledged: &[Acknowledged],
) -> Result<Vec<String>, sqlx::Error> {
    let (database, _folder) = open(store).await?;
    let mut faults = Vec::new();
    if !database.is_postgres() {
        let said: Vec<(String,)> = database.try_rows("PRAGMA integrity_check", &[]).await?;
        if said != [("ok".to_owned(),)] {
            faults.push(format!("integrity_check: {said:?}"));
        }
    }
    for (what, sql) in NEVER {
        let found: Vec<(i64,)> = database.try_rows(sql, &[]).await?;
        if found != [(0,)] {
            faults.push(format!("{found:?} times {what}"));
        }
    }
    let kept: Vec<(String, Vec<u8>)> = database
        .try_rows(
            "SELECT task.task_id, observation.body FROM observation JOIN task ON task.seq = observation.id / 1024",
            &[],
        )
        .await?;
    let kept: HashSet<(String, Vec<u8>)> = kept.into_iter().collect();
    let states: Vec<(String, String)> = database
        .try_rows(
            "SELECT task_id, state FROM task WHERE task_id IS NOT NULL",
            &[],
        )
        .await?;
    let states: HashMap<String, String> = states.into_iter().collect();
    let lost: Vec<&Acknowledged> = acknowledged
        .iter()
        .filter(|callback| {
            let body = (callback.task_id.clone(), callback.body.clone().into_bytes());
            let state = states.get(&callback.task_id).map(String::as_str);
            !kept.contains(&body) || callback.is_outcome && state != Some("completed")
        })
        .collect();
    if let Some(first) = lost.first() {
        faults.push(format!(
            "{} of {} {LOST}, the first is {first:?}",
            lost.len(),
            acknowledged.len()
        ));
    }
    database.close().await;
    Ok(faults)
}
