//! Changes that the database itself refuses, whatever program writes them.

use evolink_receiver::store::Store;

use crate::support::store::TestStore;
use crate::support::store::database::Database;

/// Creates a store with one task, whose `outcome_at` is the given SQL.
async fn database_with(state: &str, outcome_at: &str) -> (TestStore, Database) {
    let home = TestStore::new();
    Store::open(home.url()).await.unwrap().close().await;
    let database = home.connect().await;
    let digest = database.either("zeroblob(32)", "decode(repeat('00', 32), 'hex')");
    database
        .execute(&format!(
            "INSERT INTO task (submission_id, task_id, origin, state, progress, source, results_digest,
                observations, shown, submitted_at, outcome_at, polls, empty_polls, missed_polls)
            VALUES ('01890000-0000-7000-8000-000000000001', 'task-1', 'submit', '{state}', 100, 'callback',
                {digest}, 2, 1, 1, {outcome_at}, 0, 0, 0)"
        ))
        .await;
    (home, database)
}

async fn refusal(database: &Database, sql: &str) -> Option<String> {
    let done = database.try_execute(sql).await;
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
        let (_home, database) = database_with(state, "5").await;
        let both = [
            "UPDATE task SET state = 'processing', outcome_at = NULL",
            "UPDATE task SET state = 'unresolved', outcome_at = NULL",
            "UPDATE task SET outcome_at = 6",
            "UPDATE task SET results_digest = NULL",
            "UPDATE task SET shown = 0",
            "UPDATE task SET state = CASE state WHEN 'failed' THEN 'completed' ELSE 'failed' END",
        ];
        let sqlite = [
            "UPDATE task SET results_digest = randomblob(32)",
            "UPDATE OR IGNORE task SET shown = NULL",
            "UPDATE OR REPLACE task SET state = iif(state = 'failed', 'completed', 'failed')",
        ];
        let postgres = [
            "UPDATE task SET results_digest = decode(repeat('ff', 32), 'hex')",
            "INSERT INTO task SELECT * FROM task ON CONFLICT (submission_id) DO UPDATE SET shown = NULL",
            "MERGE INTO task USING (VALUES (1)) AS one(n) ON true WHEN MATCHED THEN UPDATE SET shown = NULL",
        ];
        for sql in both.into_iter().chain(database.either(sqlite, postgres)) {
            assert_eq!(
                refusal(&database, sql).await.as_deref(),
                Some("an outcome never changes"),
                "{state}: {sql}"
            );
        }
        // Columns that are not part of the outcome may still change.
        assert_eq!(
            refusal(&database, "UPDATE task SET observations = 3").await,
            None
        );
    }
}

#[tokio::test]
async fn no_statement_changes_a_bound_task_id() {
    let (_home, database) = database_with("processing", "NULL").await;
    for sql in [
        "UPDATE task SET task_id = 'task-2'",
        "UPDATE task SET task_id = NULL, state = 'submit_unknown'",
    ] {
        let refusal = refusal(&database, sql).await;
        assert_eq!(
            refusal.as_deref(),
            Some("a bound task id never changes"),
            "{sql}"
        );
    }
    assert_eq!(
        refusal(&database, "UPDATE task SET progress = 7").await,
        None
    );
}

#[tokio::test]
async fn no_statement_deletes_the_newest_event() {
    let (_home, database) = database_with("processing", "NULL").await;
    let event = "INSERT INTO event (seq, task_seq, type, at) VALUES";
    let events = format!("{event} (1, 1, 'x', 0), (2, 1, 'x', 0), (3, 1, 'x', 0)");
    database.execute(&events).await;
    for sql in [
        "DELETE FROM event",
        "DELETE FROM event WHERE seq = 3",
        "DELETE FROM event WHERE at < 5",
    ] {
        let refusal = refusal(&database, sql).await;
        assert_eq!(refusal.as_deref(), Some("the newest event stays"), "{sql}");
    }
    let older = refusal(&database, "DELETE FROM event WHERE seq < 3").await;
    assert_eq!(older, None);
}

#[tokio::test]
async fn an_open_task_becomes_an_outcome_only_with_its_time() {
    let (_home, database) = database_with("processing", "NULL").await;
    for sql in [
        "UPDATE task SET state = 'completed'",
        "UPDATE task SET outcome_at = 5",
        "UPDATE task SET state = 'completed', outcome_at = 5, next_poll_at = 6",
        "UPDATE task SET state = 'done'",
        "UPDATE task SET progress = 101",
        "UPDATE task SET progress = 'half'",
    ] {
        assert!(refusal(&database, sql).await.is_some(), "{sql}");
    }
    let sql = "UPDATE task SET state = 'completed', outcome_at = 5";
    assert_eq!(refusal(&database, sql).await, None);
}

/// Creates one delivered and one dead delivery of the same event.
async fn database_with_deliveries() -> (TestStore, Database) {
    let (home, database) = database_with("completed", "5").await;
    database
        .execute(
            "INSERT INTO event (seq, task_seq, type, at) VALUES (1, 1, 'task.completed', 0);
            INSERT INTO delivery (id, event_seq, task_seq, endpoint, state, attempts, due_at, made_at, ended_at)
            VALUES (1024, 1, 1, 'a', 'delivered', 1, 0, 0, 1), (1025, 1, 1, 'b', 'dead', 10, 0, 0, 1)",
        )
        .await;
    (home, database)
}

#[tokio::test]
async fn no_statement_changes_what_was_delivered() {
    let (_home, database) = database_with_deliveries().await;
    for change in [
        "state = 'pending', ended_at = NULL",
        "state = 'dead'",
        "attempts = 2",
        "ended_at = 2",
        "last_status = 200",
    ] {
        let sql = format!("UPDATE delivery SET {change} WHERE id = 1024");
        let refusal = refusal(&database, &sql).await;
        let wanted = Some("what was delivered never changes");
        assert_eq!(refusal.as_deref(), wanted, "{sql}");
    }
}

#[tokio::test]
async fn a_dead_delivery_is_pending_only_from_its_beginning_and_stays_that_of_its_endpoint() {
    let (_home, database) = database_with_deliveries().await;
    let revive = "UPDATE delivery SET state = 'pending', ended_at = NULL";
    for (sql, wanted) in [
        (
            format!("{revive} WHERE id = 1025"),
            "a dead delivery is pending only from the beginning",
        ),
        (
            "UPDATE delivery SET endpoint = 'c' WHERE id = 1025".to_owned(),
            "a delivery stays that of its event and its endpoint",
        ),
        (
            "UPDATE delivery SET url = 'http://c' WHERE id = 1025".to_owned(),
            "a delivery stays that of its event and its endpoint",
        ),
    ] {
        let refusal = refusal(&database, &sql).await;
        assert_eq!(refusal.as_deref(), Some(wanted), "{sql}");
    }
    for sql in [
        format!("{revive}, attempts = 0, holder = 'x' WHERE id = 1025"),
        "UPDATE delivery SET holder = 'x', lease_until = 1 WHERE id = 1025".to_owned(),
        "UPDATE delivery SET state = 'pending', attempts = 0 WHERE id = 1025".to_owned(),
        "UPDATE delivery SET state = 'lost' WHERE id = 1025".to_owned(),
        "UPDATE delivery SET last_status = 99 WHERE id = 1025".to_owned(),
        "INSERT INTO delivery (id, event_seq, task_seq, endpoint, state, attempts, due_at, made_at)
            VALUES (2048, 1, 1, 'a', 'pending', 0, 0, 0)"
            .to_owned(),
        "INSERT INTO delivery (id, event_seq, task_seq, endpoint, state, attempts, due_at, made_at)
            VALUES (1025, 1, 1, 'a', 'pending', 0, 0, 0)"
            .to_owned(),
    ] {
        assert!(refusal(&database, &sql).await.is_some(), "{sql}");
    }
    let sql = format!("{revive}, attempts = 0 WHERE id = 1025");
    assert_eq!(refusal(&database, &sql).await, None);
}
