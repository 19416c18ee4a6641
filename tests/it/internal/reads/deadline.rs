//! No query waits for the database longer than its deadline, and an abandoned query does not harm
//! the next one.

use std::time::Duration;

use tokio::time::timeout;

use crate::support::app::TestAppBuilder;
use crate::support::app::answer::get;
use crate::support::store::TestStore;

/// More than there are connections for reading.
const QUESTIONS: usize = 20;

/// Far above the deadline of a query, which is 5 s.
const PATIENCE: Duration = Duration::from_secs(50);

/// Only PostgreSQL has a lock that blocks readers.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_question_that_the_database_holds_up_is_refused_and_the_next_is_answered() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let app = TestAppBuilder::new(folder, store).start().await;
    let database = app.database().await;
    database
        .execute("BEGIN; LOCK TABLE task IN ACCESS EXCLUSIVE MODE")
        .await;
    let paths = [
        "/v1/tasks",
        "/v1/tasks/task-1",
        "/v1/tasks?client=web",
        "/v1/tasks/task-1/events",
    ];
    let held_up = paths
        .iter()
        .cycle()
        .take(QUESTIONS)
        .map(|path| get(&app, path));
    let answers = timeout(PATIENCE, futures_util::future::join_all(held_up)).await;
    for answer in answers.expect("no question waits for ever") {
        assert_eq!(answer.status, 503, "{answer:?}");
    }
    database.execute("ROLLBACK").await;
    for path in paths.iter().cycle().take(QUESTIONS) {
        let status = get(&app, path).await.status;
        assert!(matches!(status, 200 | 404), "{path}: {status}");
    }
    // Other tests use other databases on the same server.
    let open = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND state LIKE 'idle in transaction%'";
    assert_eq!(database.value::<i64>(open, &[]).await, 0);
}
