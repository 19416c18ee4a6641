//! The receivers' sessions, as the server lists them.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::support::store::database::Database;
use crate::support::until::PATIENCE;

/// Selects the sessions of receivers in this database.
pub const OURS: &str = "FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'evolink-receiver'";

/// Sessions that have begun a transaction and have been idle in it for a while.
const FORGOTTEN: &str = "AND state LIKE 'idle in transaction%'
    AND clock_timestamp() - state_change > interval '300 ms'";

/// Waits until no session is idle in a transaction, and returns how long that took. Nothing may be
/// sent meanwhile.
pub async fn none_is_left_in_a_transaction(url: &str) -> Duration {
    let began = Instant::now();
    let database = Database::connect(url).await;
    let sql = format!("SELECT query {OURS} AND state LIKE 'idle in transaction%'");
    loop {
        let open: Vec<String> = database.values(&sql, &[]).await;
        if open.is_empty() {
            break;
        }
        assert!(began.elapsed() < PATIENCE, "still open: {open:?}");
        sleep(Duration::from_millis(10)).await;
    }
    database.close().await;
    began.elapsed()
}

/// The number of sessions that are idle in the middle of a transaction.
pub async fn forgotten(database: &Database) -> i64 {
    let sql = format!("SELECT count(*) {OURS} {FORGOTTEN}");
    database.value(&sql, &[]).await
}

/// Waits until the number of sessions that match `condition` is `wanted`.
pub async fn until_there_are(database: &Database, condition: &str, wanted: impl Fn(i64) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    let sql = format!("SELECT count(*) {OURS} AND {condition}");
    loop {
        let count = database.value(&sql, &[]).await;
        if wanted(count) {
            return;
        }
        assert!(
            Instant::now() < deadline,
            "{count} sessions are {condition}"
        );
        sleep(Duration::from_millis(5)).await;
    }
}
