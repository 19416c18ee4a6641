//! Who waits for news of a task hears of what another replica recorded, also where notifications do not come through.

use std::time::Duration;

use evolink_receiver::store::wake::LOOK_INTERVAL;
use tokio::time::{Instant, sleep};

use super::recording::Recording;
use crate::events::news::{Bench, new_id, news, outcome_of};
use crate::support::store::TestStore;

/// How long it takes from the answer to the callback until somebody who waits elsewhere is woken.
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
async fn without_notifications_who_waits_at_another_replica_is_woken_by_a_look_each_second() {
    let Some(store) = TestStore::on_postgres() else {
        return;
    };
    let here = Recording::start(store.url()).await;
    // Nobody listens there.
    let there = Bench::start(store.url()).await;
    // Its news is that the log was taken up, and it stays.
    let mut keeper = there.recording.store.tail().watch_task(new_id());
    news(&mut keeper, "at first").await;
    let mut waits = Vec::new();
    for _ in 0..9 {
        waits.push(wait_elsewhere(&here, &there).await);
    }
    waits.sort();
    println!("without notifications: {waits:?}");
    assert!(waits[4] < LOOK_INTERVAL * 2, "{waits:?}");
    drop(keeper);
    there.end().await;
    here.end().await;
}
