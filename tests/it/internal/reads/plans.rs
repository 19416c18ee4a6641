//! Query plans: each statement must use an index and its order. A statement that scans a whole
//! table, or sorts what it found, becomes slow over the years.

use evolink_receiver::store::read::{events, history, newest, overdue, told};
use evolink_receiver::store::{
    Store, deliveries, key_use, quarantine, read as reads, results, retention, tail,
};

use crate::support::app::shelf;
use crate::support::store::TestStore;
use crate::support::store::database::Database;

/// The index that each statement must use, by its name in SQLite and in PostgreSQL.
const INDEXES: [[&str; 2]; 64] = [
    ["sqlite_autoindex_task_2", "task_task_id_key"],
    ["sqlite_autoindex_task_1", "task_submission_id_key"],
    ["sqlite_autoindex_task_1", "task_submission_id_key"],
    ["task_state", "task_state"],
    ["task_client", "task_client"],
    ["task_reference", "task_reference"],
    ["sqlite_autoindex_task_1", "task_submission_id_key"],
    ["task_state", "task_state"],
    ["task_client", "task_client"],
    ["task_reference", "task_reference"],
    ["sqlite_autoindex_task_1", "task_submission_id_key"],
    ["task_client", "task_client"],
    ["task_due", "task_due"],
    ["task_due", "task_due"],
    ["task_rarely_due", "task_rarely_due"],
    ["task_rarely_due", "task_rarely_due"],
    ["task_state", "task_state"],
    ["task_state", "task_state"],
    ["task_state", "task_state"],
    ["INTEGER PRIMARY KEY", "observation_pkey"],
    ["event_of_task", "event_of_task"],
    ["INTEGER PRIMARY KEY", "submit_end_pkey"],
    ["INTEGER PRIMARY KEY", "observation_pkey"],
    ["INTEGER PRIMARY KEY", "quarantine_pkey"],
    [
        "sqlite_autoindex_quarantine_1",
        "quarantine_subject_body_digest_key",
    ],
    ["quarantine_task", "quarantine_task"],
    ["INTEGER PRIMARY KEY", "quarantine_pkey"],
    ["INTEGER PRIMARY KEY", "quarantine_total_pkey"],
    ["INTEGER PRIMARY KEY", "event_pkey"],
    ["event_of_task", "event_of_task"],
    ["INTEGER PRIMARY KEY", "event_pkey"],
    ["INTEGER PRIMARY KEY", "delivery_pkey"],
    ["INTEGER PRIMARY KEY", "delivery_pkey"],
    ["delivery_open", "delivery_open"],
    ["delivery_open", "delivery_open"],
    ["delivery_open", "delivery_open"],
    ["delivery_dead", "delivery_dead"],
    ["event_of_task", "event_of_task"],
    ["event_of_task", "event_of_task"],
    ["INTEGER PRIMARY KEY", "delivery_pkey"],
    ["delivery_open", "delivery_open"],
    ["delivery_open", "delivery_open"],
    ["delivery_due", "delivery_due"],
    ["delivery_due", "delivery_due"],
    ["delivery_due", "delivery_due"],
    ["delivery_due", "delivery_due"],
    ["PRIMARY KEY", "failed_attempt_pkey"],
    ["result_pending", "result_pending"],
    ["result_pending", "result_pending"],
    ["INTEGER PRIMARY KEY", "result_pkey"],
    ["INTEGER PRIMARY KEY", "result_pkey"],
    ["result_copy", "result_copy"],
    ["result_copy", "result_copy"],
    ["result_pending", "result_pending"],
    ["result_failed", "result_failed"],
    ["INTEGER PRIMARY KEY", "event_pkey"],
    ["PRIMARY KEY", "key_use_pkey"],
    ["PRIMARY KEY", "key_use_pkey"],
    ["sqlite_autoindex_task_1", "task_submission_id_key"],
    ["INTEGER PRIMARY KEY", "task_pkey"],
    ["INTEGER PRIMARY KEY", "delivery_pkey"],
    ["delivery_open", "delivery_open"],
    ["INTEGER PRIMARY KEY", "quarantine_pkey"],
    ["idempotency_age", "idempotency_age"],
];

/// Marks of a plan that scans a whole table.
const SCANS: [&str; 2] = ["SCAN ", "Seq Scan"];

/// Marks of a plan that sorts its rows before it returns the first.
const SORTS: [&str; 3] = ["TEMP B-TREE", "Sort", "Bitmap"];

/// The plan of a reader's statement, with parameters of these `types`.
async fn plan(database: &Database, sql: &str, types: &str) -> String {
    let lines = if database.is_postgres() {
        let nulls = vec!["NULL"; types.split(',').count()].join(", ");
        let prepare = format!("PREPARE p ({types}) AS {sql}");
        database.execute(&prepare).await;
        let explain = format!("EXPLAIN (COSTS OFF) EXECUTE p ({nulls})");
        let lines = database.values::<String>(&explain, &[]).await;
        database.execute("DEALLOCATE p").await;
        lines
    } else {
        let explain = format!("EXPLAIN QUERY PLAN {sql}");
        let rows = database.rows::<(i64, i64, i64, String)>(&explain, &[]);
        rows.await.into_iter().map(|(.., line)| line).collect()
    };
    // `counted` is bounded by an inner LIMIT, and `named` has one row per name.
    let is_bounded = |line: &String| ["SCAN counted", "SCAN named"].contains(&line.as_str());
    let lines: Vec<String> = lines.into_iter().filter(|line| !is_bounded(line)).collect();
    lines.join("\n")
}

/// Returns the plans that are not as they should be.
async fn slow_plans(database: &Database) -> Vec<String> {
    let mut slow = Vec::new();
    let statements = [
        &reads::STATEMENTS[..],
        &newest::STATEMENTS,
        &overdue::STATEMENTS,
        &history::STATEMENTS,
        &quarantine::STATEMENTS,
        &events::STATEMENTS,
        &tail::STATEMENTS,
        &deliveries::READ_STATEMENTS,
        &deliveries::WORK_STATEMENTS,
        &deliveries::FAILED_STATEMENTS,
        &results::STATEMENTS,
        &told::STATEMENTS,
        &key_use::STATEMENTS,
        &retention::STATEMENTS,
    ]
    .concat();
    assert_eq!(statements.len(), INDEXES.len());
    for ((sql, types), index) in statements.into_iter().zip(INDEXES) {
        let plan = plan(database, sql, types).await;
        let has = |words: &[&str]| words.iter().any(|word| plan.contains(word));
        // One task has few rows.
        let is_of_one_task = history::STATEMENTS.contains(&(sql, types));
        if has(&SCANS)
            || (has(&SORTS) && !is_of_one_task)
            || !plan.contains(database.either(index[0], index[1]))
        {
            slow.push(format!("{sql}\n{plan}"));
        }
    }
    slow
}

#[tokio::test]
async fn every_question_is_answered_from_an_index() {
    let home = TestStore::new();
    let store = Store::open(home.url()).await.unwrap();
    let database = home.connect().await;
    if database.is_postgres() {
        // The settings of the receiver's own sessions: one plan for all parameters and all table
        // sizes.
        let settings = "SET plan_cache_mode = force_generic_plan; SET enable_seqscan = off;
            SET enable_bitmapscan = off; SET enable_sort = off; SET enable_hashjoin = off; SET enable_mergejoin = off";
        database.execute(settings).await;
    }
    // A plan that is made for an empty store is still in use when the store has filled.
    let slow = slow_plans(&database).await;
    assert!(slow.is_empty(), "empty: {}", slow.join("\n\n"));
    shelf::fill(&database).await;
    let owe = "INSERT INTO delivery (id, event_seq, task_seq, endpoint, state, attempts, due_at, made_at, ended_at)
        SELECT seq * 1024, seq, seq, 'endpoint-' || seq % 5, CASE seq % 7 WHEN 0 THEN 'dead' ELSE 'delivered' END, 1, 0, 0, 1 FROM task";
    database.execute(owe).await;
    let files =
        "INSERT INTO result (id, client, url, state, attempts, due_at, offered_until, refreshed)
        SELECT seq * 64, 'client-' || seq % 5, 'u', 'pending', 0, 0, seq, 0 FROM task";
    database.execute(files).await;
    let slow = slow_plans(&database).await;
    assert!(slow.is_empty(), "full: {}", slow.join("\n\n"));
    for index in [
        "task_due",
        "task_rarely_due",
        "task_state",
        "task_client",
        "event_of_task",
        "quarantine_task",
        "delivery_due",
        "delivery_open",
        "delivery_dead",
        "task_reference",
        "result_pending",
        "result_failed",
        "result_copy",
    ] {
        database.execute("BEGIN").await;
        database.execute(&format!("DROP INDEX {index}")).await;
        let slow = slow_plans(&database).await;
        assert!(!slow.is_empty(), "{index} is missing, and no plan shows it");
        database.execute("ROLLBACK").await;
    }
    database.close().await;
    store.close().await;
}
