//! What must hold of a store whatever was done to the receiver before.

use std::collections::{HashMap, HashSet};
use std::path::Path;

use sqlx::SqlitePool;
use tempfile::TempDir;

use super::load::Acknowledged;

/// Each names what may not be there, and counts it.
const NEVER: [(&str, &str); 8] = [
    (
        "an outcome without its one event, or a second one",
        "SELECT count(*) FROM task WHERE (outcome_at IS NOT NULL) !=
            (SELECT count(*) FROM event WHERE task_seq = task.seq AND type = 'task.' || task.state
                AND state IN ('completed', 'failed', 'cancelled'))",
    ),
    (
        "two outcomes of one task",
        "SELECT count(*) FROM (SELECT 1 FROM event WHERE type IN ('task.completed', 'task.failed', 'task.cancelled')
            GROUP BY task_seq HAVING count(*) > 1)",
    ),
    (
        "a task whose count of observations is not theirs",
        "SELECT count(*) FROM task WHERE observations !=
            (SELECT count(*) FROM observation WHERE id / 1024 = task.seq)",
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
        "a task that shows an observation that is not there",
        "SELECT count(*) FROM task WHERE shown IS NOT NULL AND seq * 1024 + shown NOT IN (SELECT id FROM observation)",
    ),
    (
        "a completed task without results or full progress",
        "SELECT count(*) FROM task WHERE state = 'completed' AND (results_digest IS NULL OR shown IS NULL)",
    ),
];

/// In the fault that says so.
pub const LOST: &str = "acknowledged callbacks are lost";

/// A second connection to the database of a receiver, which may run.
pub async fn connect(database: &Path) -> Result<SqlitePool, sqlx::Error> {
    SqlitePool::connect(&format!("sqlite:{}", database.display())).await
}

/// What is wrong with the store after all; empty if nothing was lost and nothing is broken. Looks at a copy, because SQLite
/// opens no file in another mount namespace: the receiver may run, but must have nothing to do.
pub async fn faults(database: &Path, acknowledged: &[Acknowledged]) -> Vec<String> {
    match look(database, acknowledged).await {
        Ok(faults) => faults,
        Err(error) => vec![format!("the store cannot be read: {error}")],
    }
}

/// Of every task in the store. As `faults`, it looks at a copy.
pub async fn task_ids(database: &Path) -> HashSet<String> {
    let (_folder, pool) = copy(database).await.unwrap();
    let ids: Vec<String> = sqlx::query_scalar("SELECT task_id FROM task")
        .fetch_all(&pool)
        .await
        .unwrap();
    ids.into_iter().collect()
}

async fn copy(database: &Path) -> Result<(TempDir, SqlitePool), sqlx::Error> {
    let folder = tempfile::tempdir()?;
    let copy = folder.path().join("copy.db");
    std::fs::copy(database, &copy)?;
    let log = database.with_extension("db-wal");
    if log.exists() {
        std::fs::copy(&log, folder.path().join("copy.db-wal"))?;
    }
    let pool = connect(&copy).await?;
    Ok((folder, pool))
}

async fn look(database: &Path, acknowledged: &[Acknowledged]) -> Result<Vec<String>, sqlx::Error> {
    let (_folder, pool) = copy(database).await?;
    let mut faults = Vec::new();
    let integrity: Vec<String> = sqlx::query_scalar("PRAGMA integrity_check")
        .fetch_all(&pool)
        .await?;
    if integrity != ["ok"] {
        faults.push(format!("integrity_check: {integrity:?}"));
    }
    for (what, sql) in NEVER {
        let found: i64 = sqlx::query_scalar(sql).fetch_one(&pool).await?;
        if found != 0 {
            faults.push(format!("{found} times {what}"));
        }
    }
    let kept: Vec<(String, Vec<u8>)> = sqlx::query_as(
        "SELECT task.task_id, observation.body FROM observation JOIN task ON task.seq = observation.id / 1024",
    )
    .fetch_all(&pool)
    .await?;
    let kept: HashSet<(String, Vec<u8>)> = kept.into_iter().collect();
    let states: Vec<(String, String)> = sqlx::query_as("SELECT task_id, state FROM task")
        .fetch_all(&pool)
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
    pool.close().await;
    Ok(faults)
}
