//! Inserts tasks directly into a store, many at a time, as the receiver would have written them.

use std::path::Path;

use evolink_receiver::clock::Clock;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};

use crate::callback::body;

/// The creation time of the first task in a filled store, in Unix seconds.
const FIRST_SECOND: i64 = 1_757_165_031;

/// Inserts tasks whose ids are in order of time, a hundred a second, as EvoLink's are. $1: the
/// number of the first task, $2: how many tasks, $3: their outcome time, $4: the second of the
/// first task.
const INSERT_TASKS: &str = "WITH RECURSIVE n (i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1 + $2),
        made (i, second, hex) AS (SELECT i, $4 + i / 100, printf('%012x', ($4 + i / 100) * 1000 + i % 100 * 10) FROM n)
    INSERT INTO task (seq, submission_id, task_id, origin, client, state, progress, source, results_digest,
        observations, shown, submitted_at, outcome_at, next_poll_at, polls, empty_polls, missed_polls)
    SELECT i, substr(hex, 1, 8) || '-' || substr(hex, 9) || '-7000-8000-' || printf('%012x', i),
        printf('task-unified-%010d-%08x', second, i * 2654435761 % 4294967296), 'standing', 'load', 'completed',
        100, 'callback', randomblob(32), 1, 0, second * 1000, $3, NULL, 0, 0, 0 FROM made";

const INSERT_OBSERVATIONS: &str = "INSERT INTO observation (id, source, result, at, body)
    SELECT seq * 1024, 'callback', 'recorded', submitted_at, CAST(replace($3, '#', task_id) AS BLOB)
    FROM task WHERE seq BETWEEN $1 AND $1 + $2 - 1";

const INSERT_EVENTS: &str = "INSERT INTO event (task_seq, type, source, observation, at)
    SELECT seq, 'task.completed', 'callback', 0, submitted_at FROM task WHERE seq BETWEEN $1 AND $1 + $2 - 1";

/// Opens a store that commits as the receiver does.
pub async fn open(database: &Path) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Full)
        .pragma("cache_size", "-64000");
    let pool = SqlitePool::connect_with(options.clone()).await?;
    sqlx::migrate!("migrations/sqlite").run(&pool).await?;
    pool.close().await;
    Ok(options.connect().await?)
}

/// Adds completed tasks in one transaction.
pub async fn add(connection: &mut SqliteConnection, first: i64, count: i64) -> anyhow::Result<()> {
    let now = Clock::System.now().as_millis();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut *connection)
        .await?;
    sqlx::query(INSERT_TASKS)
        .bind(first)
        .bind(count)
        .bind(now)
        .bind(FIRST_SECOND)
        .execute(&mut *connection)
        .await?;
    sqlx::query(INSERT_OBSERVATIONS)
        .bind(first)
        .bind(count)
        .bind(body("#"))
        .execute(&mut *connection)
        .await?;
    sqlx::query(INSERT_EVENTS)
        .bind(first)
        .bind(count)
        .execute(&mut *connection)
        .await?;
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    Ok(())
}
