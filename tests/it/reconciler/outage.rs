//! EvoLink fails as a whole: it is not polled about every task in that time, and the outage does
//! not lengthen the gaps of any task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::{
    BY_POLL, SOME_TICKS, accepting, body, builder, polls, seconds, submitted, token, until_recorded,
};
use crate::support::app::TestApp;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::until::{PATIENCE, until};

/// More than the polls that run at once and may fail before the outage is detected.
const TASKS: usize = 40;

const SUSPENDED: &str = "evolink_receiver_polls_suspended";

/// Tasks that are claimed: for EvoLink's timeout of 30 s and a grace period of 10 s.
const UNDER_WAY: &str = "SELECT count(*) FROM task WHERE next_poll_at - polled_at = 40000";

/// A receiver with many due tasks, and an EvoLink that answers polls with `failure` until it works
/// again.
async fn failing(failure: Vec<u8>) -> (TestApp, RawServer, Arc<AtomicBool>) {
    let is_well = Arc::new(AtomicBool::new(false));
    let well = Arc::clone(&is_well);
    let evolink = accepting(End::Close, move |id| {
        if well.load(Ordering::Relaxed) {
            http(200, &[], &body(id, "completed"))
        } else {
            failure.clone()
        }
    })
    .await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| {
            config.evolink.base_url = url;
            config.evolink.polls_per_second = 50;
        })
        .start()
        .await;
    submitted(&app, TASKS).await;
    app.clock.advance(seconds(15));
    (app, evolink, is_well)
}

/// Waits until polls are suspended, and returns how many there were.
async fn suspended(app: &TestApp, evolink: &RawServer) -> usize {
    until("polls are suspended", || app.counter(SUSPENDED) == 1).await;
    sleep(SOME_TICKS).await;
    until_recorded(app, UNDER_WAY, 0).await;
    let asked = polls(evolink);
    assert!(
        (5..=5 + 16).contains(&asked),
        "{asked}: those under way are not cut off"
    );
    asked
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_poll_at_a_time_probes_and_all_tasks_are_polled_after_an_answer() {
    // An unusable answer counts like an error.
    let failures = [http(503, &[], "{}"), Vec::new(), http(200, &[], "<html>")];
    join_all(failures.map(fails_and_is_well_again)).await;
}

async fn fails_and_is_well_again(failure: Vec<u8>) {
    let (app, evolink, is_well) = failing(failure).await;
    let mut asked = suspended(&app, &evolink).await;
    for pause in [5, 10] {
        app.clock.advance(Duration::from_millis(pause * 1000 - 1));
        sleep(SOME_TICKS).await;
        assert_eq!(polls(&evolink), asked, "before its time");
        app.clock.advance(Duration::from_millis(1));
        asked += 1;
        until("one goes to see", || polls(&evolink) == asked).await;
        until_recorded(&app, UNDER_WAY, 0).await;
        sleep(SOME_TICKS).await;
        assert_eq!(polls(&evolink), asked, "it goes alone");
    }
    let database = app.database().await;
    let counted = "SELECT count(*) FROM task WHERE polls > 0";
    let counted: i64 = database.value(counted, &[]).await;
    assert_eq!(
        counted, 4,
        "that of the fifth task, and all after it, do not count"
    );
    is_well.store(true, Ordering::Relaxed);
    app.clock.advance(seconds(20));
    // On a busy machine a poll may fail once more, and is made again later.
    for _ in 0..3 {
        let deadline = Instant::now() + PATIENCE / 3;
        while app.counter(BY_POLL) < TASKS as u64 && Instant::now() < deadline {
            sleep(SOME_TICKS).await;
        }
        app.clock.advance(seconds(20));
    }
    assert_eq!(app.counter(BY_POLL), TASKS as u64);
    assert_eq!(app.counter(SUSPENDED), 0);
}

#[tokio::test]
async fn a_few_tasks_that_evolink_cannot_answer_about_do_not_keep_it_from_being_asked() {
    let evolink = accepting(End::Close, |id| {
        if id < "task-unified-1-4" {
            http(500, &[], "{}")
        } else {
            http(200, &[], &body(id, "processing"))
        }
    })
    .await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    submitted(&app, 4).await;
    for number in 1..=4 {
        app.clock.advance(seconds(60));
        until_recorded(&app, "SELECT MIN(polls) FROM task", number).await;
    }
    sleep(SOME_TICKS).await;
    assert_eq!(app.counter(SUSPENDED), 0);
}

#[tokio::test]
async fn i15_without_any_answer_tasks_are_unresolved_in_the_end() {
    let (app, evolink, _) = failing(http(503, &[], "{}")).await;
    let asked = suspended(&app, &evolink).await;
    app.clock.advance(seconds(24 * 3600));
    let database = app.database().await;
    let unresolved = "SELECT count(*) FROM task WHERE state = 'unresolved'";
    until_recorded(&app, unresolved, TASKS).await;
    assert_eq!(polls(&evolink), asked + 1, "one went to see");
    let due: i64 = database
        .value(
            "SELECT count(*) FROM task WHERE next_poll_at IS NOT NULL",
            &[],
        )
        .await;
    assert_eq!(due, 0);
}

#[tokio::test]
async fn an_unresolved_task_that_goes_on_is_asked_about_once_there_is_an_answer() {
    let (app, evolink, is_well) = failing(http(503, &[], "{}")).await;
    suspended(&app, &evolink).await;
    app.clock.advance(seconds(24 * 3600));
    let unresolved = "SELECT count(*) FROM task WHERE state = 'unresolved'";
    until_recorded(&app, unresolved, TASKS).await;
    let task = app.get("/v1/tasks?limit=1").await.1["data"][0].clone();
    let id = task["id"].as_str().unwrap();
    let token = token(&app, &task);
    let result = app.callback_result(&token, body(id, "processing")).await;
    assert_eq!(result, "unchanged");
    sleep(SOME_TICKS).await;
    is_well.store(true, Ordering::Relaxed);
    app.clock.advance(seconds(60));
    app.task_when(id, |task| task["status"] == "completed")
        .await;
    // The receiver learned nothing about the other tasks.
    until("the count", || app.counter(BY_POLL) == 1).await;
}

#[tokio::test]
async fn after_a_day_away_nothing_is_given_up_because_evolink_is_not_there_yet() {
    let failures = [http(503, &[], "{}"), http(429, &["retry-after: 30"], "{}")];
    for failure in failures {
        let (app, evolink, is_well) = failing(failure).await;
        // No polls are made while the process is stopped.
        let (_, builder) = app.stop().await;
        let before = polls(&evolink);
        builder.clock().advance(seconds(25 * 3600));
        let app = builder.start().await;
        until("polls", || polls(&evolink) > before).await;
        sleep(SOME_TICKS).await;
        let database = app.database().await;
        let unresolved = "SELECT count(*) FROM task WHERE state = 'unresolved'";
        assert_eq!(database.value::<i64>(unresolved, &[]).await, 0);
        is_well.store(true, Ordering::Relaxed);
        // Advance past the leases of the polls that the stop cut off.
        app.clock.advance(seconds(60));
        let completed = "SELECT count(*) FROM task WHERE state = 'completed'";
        until_recorded(&app, completed, TASKS).await;
    }
}
