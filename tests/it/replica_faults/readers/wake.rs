//! What one replica records wakes the waiters at another. If the notification is lost, a poll of
//! the store every second wakes them.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use evolink_receiver::store::wake::POLL_INTERVAL;
use evolink_receiver::workers::run_loop::run_loop;
use evolink_receiver::workers::upkeep::log::WakeUpListener;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::replica_faults::sessions;
use crate::support::recorder::recording::Recording;
use crate::support::store::TestStore;
use crate::support::store::database::Database;
use crate::support::until::PATIENCE;

pub const LISTENS: &str = "query ILIKE 'LISTEN%'";

pub const TERMINATE: &str = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND query ILIKE 'LISTEN%'";

const TIMES: usize = 9;

/// Returns how long a waiter at `there` waits while nothing, or something, is recorded `here`.
async fn wait(here: &Recording, there: &Recording, task_id: Option<&str>) -> Duration {
    let mut waiter = there.store.wake().waiter();
    if let Some(task_id) = task_id {
        here.record(task_id).await;
    }
    // The next poll of the store comes a full interval after this one.
    let waits = Instant::now();
    timeout(PATIENCE, waiter.wait()).await.expect("it looks");
    waits.elapsed()
}

/// With something recorded, most waits end sooner than any poll of the store could end them.
/// Without it, none does.
async fn assert_wakes(here: &Recording, there: &Recording, what: &str) {
    let quiet = wait(here, there, None).await;
    assert!(quiet >= POLL_INTERVAL, "{what}: woken for nothing");
    let mut waits = Vec::new();
    for number in 0..TIMES {
        let task_id = format!("task-{what}-{number}");
        waits.push(wait(here, there, Some(&task_id)).await);
    }
    waits.sort();
    println!("{what}: the median wait is {:?}", waits[TIMES / 2]);
    assert!(waits[TIMES / 2] < POLL_INTERVAL, "{what}: {waits:?}");
}

async fn is_listened(database: &Database) {
    sessions::until_there_are(database, LISTENS, |count| count == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entry_recorded_by_one_replica_wakes_waiters_at_another() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let (here, there) = (
        Recording::start(store.url()).await,
        Recording::start(store.url()).await,
    );
    let database = store.connect().await;
    let stop = CancellationToken::new();
    let listening = WakeUpListener {
        store: Arc::clone(&there.store),
        listening: None,
    };
    let listening = tokio::spawn(run_loop(listening, stop.clone()));
    is_listened(&database).await;
    assert_wakes(&here, &there, "first").await;

    let pid = "SELECT pid::bigint FROM pg_stat_activity WHERE datname = current_database() AND query ILIKE 'LISTEN%'";
    let before: i64 = database.value(pid, &[]).await;
    database.execute(TERMINATE).await;
    let another = format!("{LISTENS} AND pid != {before}");
    sessions::until_there_are(&database, &another, |count| count == 1).await;
    assert_wakes(&here, &there, "again").await;

    // No new connection is allowed, so no receiver can listen. The recorder keeps its connection.
    store.let_in(false).await;
    database.execute(TERMINATE).await;
    sessions::until_there_are(&database, LISTENS, |count| count == 0).await;
    let alone = wait(&here, &there, Some("task-alone")).await;
    assert!(alone >= POLL_INTERVAL, "nothing could wake it: {alone:?}");

    store.let_in(true).await;
    is_listened(&database).await;
    assert_wakes(&here, &there, "at-last").await;
    stop.cancel();
    listening.await.unwrap();
    here.end().await;
    there.end().await;
}

/// A server may accept each connection that listens, and end it at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_ends_at_once_is_replaced_about_once_a_second() {
    const ENDED: &str = "SELECT pid::bigint, pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND query ILIKE 'LISTEN%'";
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let there = Recording::start(store.url()).await;
    let database = store.connect().await;
    let stop = CancellationToken::new();
    let listening = WakeUpListener {
        store: Arc::clone(&there.store),
        listening: None,
    };
    let listening = tokio::spawn(run_loop(listening, stop.clone()));
    let (began, mut ended) = (Instant::now(), HashSet::new());
    while began.elapsed() < Duration::from_millis(2500) {
        let sessions: Vec<(i64, bool)> = database.rows(ENDED, &[]).await;
        ended.extend(sessions.into_iter().map(|(pid, _)| pid));
        sleep(Duration::from_millis(2)).await;
    }
    println!("{} connections in {:?}", ended.len(), began.elapsed());
    assert!((1..=4).contains(&ended.len()), "{ended:?}");
    is_listened(&database).await;
    stop.cancel();
    listening.await.unwrap();
    there.end().await;
}
