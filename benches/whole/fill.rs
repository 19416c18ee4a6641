//! Tasks put straight into a store, as the receiver would have written them, many at a time.

use std::path::Path;

use evolink_receiver::clock::Clock;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqliteConnection, SqlitePool};

use crate::callback::body;

/// In one statement. More would only make its journal longer.
const CHUNK: i64 = 100_000;

/// Of the tasks that a filled store holds, the second in which the first was made.
const FIRST_SECOND: i64 = 1_757_165_031;

/// Ids in the order of time, a hundred a second, as EvoLink makes them. $1: the first's number, $2: how many, $3: the state,
/// $4 and $5: when it ended and when to ask for it, $6: the second of the first.
const INSERT_TASKS: &str = "WITH RECURSIVE n (i) AS (SELECT $1 UNION ALL SELECT i + 1 FROM n WHERE i + 1 < $1 + $2),
        made (i, second, hex) AS (SELECT i, $6 + i / 100, printf('%012x', ($6 + i / 100) * 1000 + i % 100 * 10) FROM n)
    INSERT INTO task (seq, submission_id, task_id, origin, client, state, progress, source, results_digest,
        observations, shown, submitted_at, outcome_at, next_poll_at, polls, empty_polls, missed_polls)
    SELECT i, substr(hex, 1, 8) || '-' || substr(hex, 9) || '-7000-8000-' || printf('%012x', i),
        printf('task-unified-%010d-%08x', second, i * 2654435761 % 4294967296), 'standing', 'load', $3,
        CASE WHEN $4 IS NULL THEN 40 ELSE 100 END, 'callback', CASE WHEN $4 IS NULL THEN NULL ELSE randomblob(32) END,
        1, 0, second * 1000, $4, $5, 0, 0, 0 FROM made";

const INSERT_OBSERVATIONS: &str = "INSERT INTO observation (id, source, result, at, body)
    SELECT seq * 1024, 'callback', 'recorded', submitted_at, CAST(replace($3, '#', task_id) AS BLOB)
    FROM task WHERE seq BETWEEN $1 AND $1 + $2 - 1";

const INSERT_EVENTS: &str = "INSERT INTO event (task_seq, type, source, observation, at)
    SELECT seq, $3, 'callback', 0, submitted_at FROM task WHERE seq BETWEEN $1 AND $1 + $2 - 1";

/// How the tasks stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    Completed,
    /// Running, and not to be asked after today.
    Open,
}

/// How a store is opened to be filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sync {
    /// As the receiver commits.
    Full,
    /// For what can be made anew.
    Off,
}

pub async fn open(database: &Path, sync: Sync) -> anyhow::Result<SqliteConnection> {
    let options = SqliteConnectOptions::new()
        .filename(database)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(match sync {
            Sync::Full => SqliteSynchronous::Full,
            Sync::Off => SqliteSynchronous::Off,
        })
        .pragma("cache_size", "-64000");
    let pool = SqlitePool::connect_with(options.clone()).await?;
    sqlx::migrate!("migrations/sqlite").run(&pool).await?;
    pool.close().await;
    Ok(options.connect().await?)
}

/// Adds tasks up to the number `count`, in a store that holds `from`.
pub async fn fill(database: &Path, count: i64, stand: Stand) -> anyhow::Result<()> {
    let mut connection = open(database, Sync::Off).await?;
    let mut next = 1;
    while next <= count {
        let chunk = CHUNK.min(count - next + 1);
        add(&mut connection, next, chunk, stand).await?;
        next += chunk;
    }
    // The planner is to know what it has, as in a store that has run for long.
    sqlx::query("PRAGMA optimize")
        .execute(&mut connection)
        .await?;
    sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)")
        .execute(&mut connection)
        .await?;
    Ok(())
}

/// In one transaction.
pub async fn add(
    connection: &mut SqliteConnection,
    first: i64,
    count: i64,
    stand: Stand,
) -> anyhow::Result<()> {
    let now = Clock::System.now().as_millis();
    let tomorrow = now + 24 * 60 * 60 * 1000;
    let (state, event, outcome_at, next_poll_at) = match stand {
        Stand::Completed => ("completed", "task.completed", Some(now), None),
        Stand::Open => ("processing", "task.processing", None, Some(tomorrow)),
    };
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut *connection)
        .await?;
    sqlx::query(INSERT_TASKS)
        .bind(first)
        .bind(count)
        .bind(state)
        .bind(outcome_at)
        .bind(next_poll_at)
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
        .bind(event)
        .execute(&mut *connection)
        .await?;
    sqlx::query("COMMIT").execute(&mut *connection).await?;
    Ok(())
}

/// The id of the task with this number.
pub fn task_id(seq: i64) -> String {
    format!(
        "task-unified-{:010}-{:08x}",
        FIRST_SECOND + seq / 100,
        seq * 2_654_435_761 % 4_294_967_296
    )
}
