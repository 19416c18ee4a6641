//! A start while another session has locked our tables: it ends in time, and names the lock.

use std::time::Duration;

use evolink_receiver::store::Store;
use tokio::time::{Instant, timeout};

use super::findings::findings;
use crate::support::process::Place;
use crate::support::store::TestStore;
use crate::support::store::database::Database;

/// More than the start waits for a lock, less than anyone waits for a start.
const ENDS_WITHIN: Duration = Duration::from_secs(30);

/// Opens a store once, so that its tables are there. Returns a session that locks `table`.
async fn locked(store: &TestStore, table: &str) -> Database {
    Store::open(store.url()).await.unwrap().close().await;
    let holder = store.connect().await;
    holder
        .execute(&format!(
            "BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"
        ))
        .await;
    holder
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_and_a_check_behind_a_lock_end_and_name_it() {
    for table in ["_sqlx_migrations", "epoch", "callback_key"] {
        let Some(store) = TestStore::on_postgres() else {
            return;
        };
        let holder = locked(&store, table).await;
        let both = async { tokio::join!(Store::open(store.url()), findings(store.url())) };
        let (opened, found) = timeout(ENDS_WITHIN, both).await.expect(table);
        let refused = opened.expect_err(table).to_string();
        let names = format!("holds AccessExclusiveLock on table {table} ");
        assert!(refused.contains(&names), "{refused}");
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].contains(&names), "{found:?}");
        holder.execute("ROLLBACK").await;
        Store::open(store.url()).await.unwrap().close().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_that_waits_for_a_lock_ends_at_sigterm() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let holder = locked(&store, "_sqlx_migrations").await;
    let mut place = Place::on(store);
    place.launch_through(&[
        "timeout",
        "--foreground",
        "--preserve-status",
        "--signal=TERM",
        "2",
    ]);
    let began = Instant::now();
    let output = place.run_to_end().await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(began.elapsed() < Duration::from_secs(8), "{said}");
    assert_eq!(output.status.code(), Some(0), "{said}");
    holder.execute("ROLLBACK").await;
}
