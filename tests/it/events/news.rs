//! A waiter for news of a task is woken by that news, whenever it arrives, and by nothing else.

use std::sync::Arc;

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::store::read::TaskName;
use evolink_receiver::store::{Store, StoreError};
use futures_util::FutureExt as _;
use tokio::task::{JoinSet, yield_now};

use crate::support::recorder::news::{Bench, new_id, news, outcome_of};
use crate::support::recorder::recording::Recording;
use crate::support::store::database::Refused;
use crate::support::store::{TestStore, is_postgres};

/// Number of races, and how many of them run alone. Before and after a race that runs alone there
/// is no waiter, so the reader of the log has to start again.
const RACES: u32 = 10_000;
const RACES_ALONE: u32 = 1000;
const LANES: u32 = 12;

async fn is_there(store: &Store, id: SubmissionId) -> Result<bool, StoreError> {
    let found = store.find_task(&TaskName::Submission(id)).await?;
    Ok(found.is_some())
}

/// Subscribes, queries and waits while the outcome is recorded. Returns how often it queried.
async fn race(recording: &Recording, number: u32) -> u32 {
    let id = new_id();
    let callers = recording.recorder.clone();
    let recorded = tokio::spawn(async move {
        for _ in 0..number % 7 {
            yield_now().await;
        }
        callers.record(outcome_of(id)).await
    });
    for _ in 0..number % 5 {
        yield_now().await;
    }
    let mut watch = recording.store.tail().watch_task(id);
    let mut looks = 1;
    while !is_there(&recording.store, id).await.unwrap() {
        news(&mut watch, &format!("race {number}")).await;
        looks += 1;
    }
    assert!(recorded.await.unwrap().is_ok());
    looks
}

#[tokio::test(flavor = "multi_thread", worker_threads = 3)]
async fn no_wake_up_is_lost_in_ten_thousand_races() {
    let home = TestStore::new();
    let bench = Arc::new(Bench::start(home.url()).await);
    let mut waited = 0;
    for number in 0..RACES_ALONE {
        waited += u32::from(race(&bench.recording, number).await > 1);
    }
    let mut lanes = JoinSet::new();
    for lane in 0..LANES {
        let bench = Arc::clone(&bench);
        lanes.spawn(async move {
            let mut waited = 0;
            let mut number = RACES_ALONE + lane;
            while number < RACES {
                waited += u32::from(race(&bench.recording, number).await > 1);
                number += LANES;
            }
            waited
        });
    }
    waited += lanes.join_all().await.into_iter().sum::<u32>();
    println!("{RACES} races, in {waited} of which somebody had to wait");
    assert!(waited > RACES / 20, "only {waited} had to wait");
    Arc::into_inner(bench).unwrap().end().await;
}

/// The reader of the log starts at its end, after the waiter has queried the store.
#[tokio::test]
async fn what_came_before_the_log_was_taken_up_is_not_missed() {
    let home = TestStore::new();
    let recording = Recording::start(home.url()).await;
    let id = new_id();
    let mut watch = recording.store.tail().watch_task(id);
    assert!(!is_there(&recording.store, id).await.unwrap());
    recording.recorder.record(outcome_of(id)).await.unwrap();
    let bench = Bench::over(recording);
    news(&mut watch, "what came before").await;
    bench.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_woken_by_the_news_of_another_task() {
    let home = TestStore::new();
    let recording = Recording::start(home.url()).await;
    let (one, other) = (new_id(), new_id());
    let mut of_one = recording.store.tail().watch_task(one);
    let mut of_other = recording.store.tail().watch_task(other);
    let bench = Bench::over(recording);
    let recorder = &bench.recording.recorder;
    if is_postgres() {
        // This notice is sent to all waiters when the reader of the log starts.
        news(&mut of_one, "at first").await;
        news(&mut of_other, "at first").await;
    }
    for _ in 0..20 {
        recorder.record(outcome_of(new_id())).await.unwrap();
    }
    recorder.record(outcome_of(one)).await.unwrap();
    news(&mut of_one, "its own").await;
    assert!(of_other.news().now_or_never().is_none());
    recorder.record(outcome_of(other)).await.unwrap();
    news(&mut of_other, "its own").await;
    drop((of_one, of_other));
    bench.end().await;
}

/// The batch may have been written after all, and no later notice would report it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_are_woken_after_a_batch_that_failed() {
    let home = TestStore::new();
    let recording = Recording::start(home.url()).await;
    let database = home.connect().await;
    database.refuse(Refused::Events, "ABORT").await;
    let id = new_id();
    let mut watch = recording.store.tail().watch_task(id);
    recording.recorder.record(outcome_of(id)).await.unwrap_err();
    news(&mut watch, "after an error").await;
    database.stop_refusing().await;
    recording.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiters_are_woken_when_the_log_cannot_be_read() {
    // With SQLite the recorder notifies the waiters, and its notices need no read of the log.
    if !is_postgres() {
        return;
    }
    let home = TestStore::new();
    let bench = Bench::start(home.url()).await;
    let store = Arc::clone(&bench.recording.store);
    let mut watch = store.tail().watch_task(new_id());
    news(&mut watch, "at first").await;
    store.close().await;
    news(&mut watch, "once").await;
    news(&mut watch, "and again").await;
    bench.end().await;
}
