//! One transaction for each callback, with all that the receiver writes for it: task, observation,
//! event.

use std::time::Duration;

use evolink_receiver::clock::Clock;
use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::domain::observation::Observation;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{PgPool, SqlitePool};

use crate::database;

/// Pool sizes as they are usual for a web application.
const SQLITE_CONNECTIONS: u32 = 5;
const POSTGRES_CONNECTIONS: u32 = 50;

const PATIENCE: Duration = Duration::from_secs(30);

const SELECT_TASK: &str = "SELECT seq FROM task WHERE task_id = $1";

const INSERT_TASK: &str = "INSERT INTO task (submission_id, task_id, origin, client, state, progress, source,
        results_digest, observations, shown, submitted_at, outcome_at, polls, empty_polls, missed_polls)
    VALUES ($1, $2, 'standing', 'load', 'completed', $3, 'callback', $4, 1, 0, $5, $5, 0, 0, 0) RETURNING seq";

const INSERT_OBSERVATION: &str = "INSERT INTO observation (id, source, result, at, body)
    VALUES ($1, 'callback', 'recorded', $2, $3)";

const INSERT_EVENT: &str = "INSERT INTO event (task_seq, type, source, observation, at)
    VALUES ($1, 'task.completed', 'callback', 0, $2)";

/// The same for both databases. Only the driver's types differ.
macro_rules! commit {
    ($pool:expr, $begin:literal, $seen:expr) => {{
        let now = Clock::System.now();
        let mut transaction = $pool.begin_with($begin).await?;
        let known: Option<i64> = sqlx::query_scalar(SELECT_TASK)
            .bind($seen.task_id.as_str())
            .fetch_optional(&mut *transaction)
            .await?;
        if known.is_some() {
            return Ok(());
        }
        let seq: i64 = sqlx::query_scalar(INSERT_TASK)
            .bind(SubmissionId::new(now).to_string())
            .bind($seen.task_id.as_str())
            .bind(i64::from($seen.progress.unwrap_or(0)))
            .bind($seen.results_digest().as_bytes())
            .bind(now.as_millis())
            .fetch_one(&mut *transaction)
            .await?;
        sqlx::query(INSERT_OBSERVATION)
            .bind(seq * 1024)
            .bind(now.as_millis())
            .bind($seen.raw.as_ref())
            .execute(&mut *transaction)
            .await?;
        sqlx::query(INSERT_EVENT)
            .bind(seq)
            .bind(now.as_millis())
            .execute(&mut *transaction)
            .await?;
        transaction.commit().await
    }};
}

pub enum Writes {
    Sqlite(SqlitePool),
    Postgres(PgPool),
}

impl Writes {
    pub async fn open(url: &str) -> anyhow::Result<Self> {
        if url.starts_with("postgres:") {
            return Self::open_postgres(url).await;
        }
        let options = url
            .parse::<SqliteConnectOptions>()?
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE)
            .foreign_keys(true);
        let pool = SqlitePoolOptions::new()
            .max_connections(SQLITE_CONNECTIONS)
            .acquire_timeout(PATIENCE);
        let pool = pool.connect_with(options).await?;
        sqlx::migrate!("migrations/sqlite").run(&pool).await?;
        Ok(Self::Sqlite(pool))
    }

    async fn open_postgres(url: &str) -> anyhow::Result<Self> {
        let pool = PgPoolOptions::new()
            .max_connections(POSTGRES_CONNECTIONS)
            .acquire_timeout(PATIENCE);
        let pool = pool.connect(url).await?;
        let migrator = Migrator::new(database::migrations()).await?;
        migrator.run(&pool).await?;
        Ok(Self::Postgres(pool))
    }

    pub async fn commit(&self, seen: &Observation) -> sqlx::Result<()> {
        match self {
            Self::Sqlite(pool) => commit!(pool, "BEGIN IMMEDIATE", seen),
            Self::Postgres(pool) => commit!(pool, "BEGIN", seen),
        }
    }
}
