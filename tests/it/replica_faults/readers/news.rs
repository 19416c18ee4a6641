//! A subscriber that waits for news of a task is woken by what another replica records, even if no
//! notifications arrive.

use std::time::Duration;

use evolink_receiver::store::wake::POLL_INTERVAL;
use tokio::time::{Instant, sleep};

use crate::support::recorder::news::{Bench, new_id, news, outcome_of};
use crate::support::recorder::recording::Recording;
use crate::support::store::TestStore;

/// Returns the time from the answer to the callback until a subscriber at another replica is woken.
async fn wait_elsewhere(here: &Recording, there: &Bench) -> Duration {
    let id = new_id();
    let mut watch = there.recording.store.tail().watch_task(id);
    sleep(Duration::from_millis(fastrand::u64(20..300))).await;
    here.recorder.record(outcome_of(id)).await.unwrap();
    let answered = Instant::now();
    news(&mut watch, "its own").await;
    answered.elapsed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_notifications_waiters_at_another_replica_poll_the_store_each_second() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let here = Recording::start(store.url()).await;
    // This replica receives no notifications.
    let there = Bench::start(store.url()).await;
    // Its first news is that the log is being followed. It stays subscribed.
    let mut keeper = there.recording.store.tail().watch_task(new_id());
    news(&mut keeper, "at first").await;
    let mut waits = Vec::new();
    for _ in 0..9 {
        waits.push(wait_elsewhere(&here, &there).await);
    }
    waits.sort();
    println!("without notifications: {waits:?}");
    assert!(waits[4] < POLL_INTERVAL * 2, "{waits:?}");
    drop(keeper);
    there.end().await;
    here.end().await;
}
