//! What the database itself refuses, whoever writes to it.

use evolink_receiver::store::Store;
use sqlx::SqlitePool;

use super::check;

const INSERT: &str =
    "INSERT INTO task (submission_id, task_id, origin, state, progress, source, results_digest,
        observations, shown, submitted_at, outcome_at, polls, empty_polls, missed_polls)
    VALUES ($1, $2, 'submit', $3, 100, 'callback', zeroblob(32), 2, 1, 1, $4, 0, 0, 0)";

async fn database_with(state: &str, outcome_at: Option<i64>) -> (tempfile::TempDir, SqlitePool) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("receiver.db");
    let url = format!("sqlite:{}", path.display());
    Store::open(&url).await.unwrap().close().await;
    let pool = check::connect(&path).await.unwrap();
    sqlx::query(INSERT)
        .bind("01890000-0000-7000-8000-000000000001")
        .bind("task-1")
        .bind(state)
        .bind(outcome_at)
        .execute(&pool)
        .await
        .unwrap();
    (folder, pool)
}

async fn refusal(pool: &SqlitePool, sql: &'static str) -> Option<String> {
    let done = sqlx::query(sql).execute(pool).await;
    Some(
        done.err()?
            .as_database_error()
            .unwrap()
            .message()
            .to_owned(),
    )
}

#[tokio::test]
async fn no_statement_changes_an_outcome() {
    for state in ["completed", "failed", "cancelled"] {
        let (_folder, pool) = database_with(state, Some(5)).await;
        for sql in [
            "UPDATE task SET state = 'processing', outcome_at = NULL",
            "UPDATE task SET state = 'unresolved', outcome_at = NULL",
            "UPDATE task SET outcome_at = 6",
            "UPDATE task SET results_digest = NULL",
            "UPDATE task SET results_digest = randomblob(32)",
            "UPDATE task SET shown = 0",
            "UPDATE OR IGNORE task SET shown = NULL",
            "UPDATE OR REPLACE task SET state = iif(state = 'failed', 'completed', 'failed')",
        ] {
            assert_eq!(
                refusal(&pool, sql).await.as_deref(),
                Some("an outcome never changes"),
                "{state}: {sql}"
            );
        }
        // What is not the outcome may move on.
        assert_eq!(
            refusal(&pool, "UPDATE task SET observations = 3").await,
            None
        );
    }
}

#[tokio::test]
async fn no_statement_changes_a_bound_task_id() {
    let (_folder, pool) = database_with("processing", None).await;
    for sql in [
        "UPDATE task SET task_id = 'task-2'",
        "UPDATE task SET task_id = NULL, state = 'submit_unknown'",
    ] {
        let refusal = refusal(&pool, sql).await;
        assert_eq!(
            refusal.as_deref(),
            Some("a bound task id never changes"),
            "{sql}"
        );
    }
    assert_eq!(refusal(&pool, "UPDATE task SET progress = 7").await, None);
}

#[tokio::test]
async fn an_open_task_becomes_an_outcome_only_with_its_time() {
    let (_folder, pool) = database_with("processing", None).await;
    for sql in [
        "UPDATE task SET state = 'completed'",
        "UPDATE task SET outcome_at = 5",
        "UPDATE task SET state = 'completed', outcome_at = 5, next_poll_at = 6",
        "UPDATE task SET state = 'done'",
        "UPDATE task SET progress = 101",
        "UPDATE task SET progress = 'half'",
    ] {
        assert!(refusal(&pool, sql).await.is_some(), "{sql}");
    }
    let sql = "UPDATE task SET state = 'completed', outcome_at = 5";
    assert_eq!(refusal(&pool, sql).await, None);
}
