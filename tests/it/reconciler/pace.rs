//! The times of polls: once a task is overdue, then less and less often, and not while EvoLink asks
//! for a delay.

use std::time::Duration;

use evolink_receiver::simulator::Options;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{
    BY_POLL, SOME_TICKS, accepting, builder, next_poll_after, polls, seconds, submitted, token,
};
use crate::support::app::TestApp;
use crate::support::net::raw_server::{End, http};
use crate::support::until::until;

#[tokio::test]
async fn a_lost_callback_is_found_by_asking_when_it_is_overdue() {
    let (app, evolink) = builder().start_with_simulator(Options::default()).await;
    let task = app.submitted("[sim:lost-callback,duration=100ms]").await;
    until("the end of the task", || {
        evolink.tasks()[0].body["status"] == "completed"
    })
    .await;
    next_poll_after(&app, seconds(15), || evolink.queries().len(), 1).await;
    let done = app
        .get(&format!("/v1/tasks/{}", task["id"].as_str().unwrap()))
        .await
        .1;
    assert_eq!(
        (&done["status"], &done["receiver"]["source"]),
        (&json!("completed"), &json!("poll"))
    );
    until("the count", || app.counter(BY_POLL) == 1).await;
    app.clock.advance(seconds(3600));
    sleep(SOME_TICKS).await;
    assert_eq!(evolink.queries().len(), 1, "an outcome is not asked about");
}

#[tokio::test]
async fn the_estimate_of_evolink_is_waited_for_and_gaps_double() {
    let (app, evolink) = builder()
        .start_with_simulator(Options {
            estimated_time_s: 40,
            ..Options::default()
        })
        .await;
    app.submitted("[sim:never-ends]").await;
    let queries = || evolink.queries().len();
    for (number, gap) in [40, 3, 6, 12, 24].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), queries, number + 1).await;
    }
}

#[tokio::test]
async fn polls_of_one_task_are_3_s_apart_whatever_asks_for_them() {
    let builder = TestApp::builder().with(|config| config.reconcile.first_poll_after = seconds(1));
    let options = Options {
        estimated_time_s: 0,
        ..Options::default()
    };
    let (app, evolink) = builder.start_with_simulator(options).await;
    let task = app.submitted("[sim:never-ends]").await;
    let token = token(&app, &task);
    let id = task["id"].as_str().unwrap();
    let begun = Instant::now();
    for number in 0.. {
        let suspicious = json!({"id": id, "status": "paused", "n": number}).to_string();
        assert!(app.callback(&token, suspicious).await.0 == 200);
        if evolink.queries().len() >= 4 {
            break;
        }
        assert!(begun.elapsed() < seconds(60), "polls are wanted");
        sleep(Duration::from_millis(100)).await;
    }
    let times: Vec<_> = evolink.queries().iter().map(|query| query.at).collect();
    for pair in times.windows(2) {
        let gap = pair[1].duration_since(pair[0]);
        assert!(gap.as_millis() >= 2990, "{times:?}");
    }
}

#[tokio::test]
async fn a_429_stops_polls_for_its_retry_after_and_counts_for_no_task() {
    let evolink = accepting(End::Close, |_| http(429, &["retry-after: 30"], "{}")).await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    submitted(&app, 40).await;
    app.clock.advance(seconds(15));
    let throttled = "evolink_receiver_polls_total{result=\"throttled\"}";
    let mut before = 0;
    for _ in 0..3 {
        until("polls go on", || polls(&evolink) > before).await;
        until("they are told to wait", || {
            app.counter(throttled) == u64::try_from(polls(&evolink)).unwrap()
        })
        .await;
        sleep(SOME_TICKS).await;
        let asked = polls(&evolink);
        assert!(
            asked - before <= 16,
            "{asked}: at most those that were under way when the first 429 came"
        );
        app.clock.advance(seconds(29));
        sleep(SOME_TICKS).await;
        assert_eq!(polls(&evolink), asked);
        app.clock.advance(seconds(1));
        before = asked;
    }
    let database = app.database().await;
    let counted: i64 = database
        .value("SELECT count(*) FROM task WHERE polls > 0", &[])
        .await;
    assert_eq!(counted, 0, "their gaps grow by it");
}
