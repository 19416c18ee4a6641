//! Answers of unknown origin, and answers about too many tasks at once: neither ends a task.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use evolink_receiver::domain::ids::SubmissionId;
use evolink_receiver::simulator::{Options, Simulator};
use futures_util::future::join_all;
use tokio::time::{Instant, sleep};

use super::gateway::Gateway;
use super::{
    BY_POLL, ID, SOME_TICKS, accepting, answering, body, builder, event_types, next_poll_after,
    polls, seconds, state, submitted, token, until_recorded, until_recorded_by_polls,
};
use crate::support::app::TestApp;
use crate::support::net::raw_server::{End, NOT_FOUND, RawServer, http};
use crate::support::until::until;

const TASKS: usize = 20;

const COMPLETED: &str = "SELECT count(*) FROM task WHERE state = 'completed'";
const UNRESOLVED: &str = "SELECT count(*) FROM task WHERE state = 'unresolved'";
const PENDING: &str = "SELECT count(*) FROM task WHERE state = 'pending'";

/// Pages that are not EvoLink's, although they have the status for a task that is gone.
fn foreign_pages() -> Vec<Vec<u8>> {
    let html = "<html><head><title>404 Not Found</title></head></html>";
    let invalid_url = r#"{"error":{"code":"","message":"Invalid URL (GET /v1/tasks/a)","type":"invalid_request_error","param":""}}"#;
    vec![
        http(404, &["content-type: text/html"], html),
        http(410, &[], ""),
        http(404, &["content-type: application/json"], "{}"),
        http(404, &["content-type: application/json"], invalid_url),
        http(
            400,
            &["content-type: text/html"],
            "<html>invalid_task_id</html>",
        ),
    ]
}

/// A simulator that sends no callbacks, behind a gateway that answers polls with `page`.
async fn behind_a_gateway(page: Vec<u8>) -> (TestApp, Simulator, Gateway) {
    let (app, evolink) = builder().start_with_simulator(Options::default()).await;
    let (_, builder) = app.stop().await;
    let upstream = evolink.base_url();
    let upstream = upstream.strip_prefix("http://").unwrap();
    let gateway = Gateway::start(upstream.trim_end_matches('/').parse().unwrap(), page).await;
    let url = gateway.url.parse().unwrap();
    let app = builder
        .with(|config| {
            config.evolink.base_url = url;
            config.evolink.polls_per_second = 100;
        })
        .start()
        .await;
    for _ in 0..TASKS {
        app.submitted("[sim:lost-callback,duration=100ms]").await;
    }
    (app, evolink, gateway)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_a_gateway_in_front_of_evolink_lose_no_outcome() {
    join_all(foreign_pages().into_iter().map(|page| async move {
        let (app, _evolink, gateway) = behind_a_gateway(page).await;
        app.clock.advance(seconds(15));
        until("several polls", || gateway.answered() >= 5).await;
        for _ in 0..3 {
            app.clock.advance(seconds(4));
            sleep(SOME_TICKS).await;
        }
        assert_eq!(
            app.database().await.value::<i64>(PENDING, &[]).await,
            i64::try_from(TASKS).unwrap()
        );
        gateway.recover();
        app.clock.advance(seconds(60));
        until_recorded_by_polls(&app, COMPLETED, TASKS, seconds(60)).await;
        // The recorder counts after the commit that the database shows.
        until("the count", || app.counter(BY_POLL) == TASKS as u64).await;
    }))
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_base_url_loses_no_task_in_flight() {
    // A page that is not EvoLink's, and an EvoLink that knows none of the tasks.
    let answers = [http(404, &[], "<html>"), http(404, &[], NOT_FOUND)];
    join_all(answers.map(|answer| async move {
        let right = accepting(End::Close, |id| http(200, &[], &body(id, "completed"))).await;
        let wrong = RawServer::start(answer, End::Close).await;
        let (right_url, wrong_url) = (right.url.parse().unwrap(), wrong.url.parse().unwrap());
        let builder = builder().with(|config| config.evolink.base_url = right_url);
        let app = builder.start().await;
        submitted(&app, TASKS).await;
        let (right_url, (_, builder)) = (app.config.evolink.base_url.clone(), app.stop().await);
        let builder = builder.with(|config| {
            config.evolink.base_url = wrong_url;
            config.evolink.polls_per_second = 100;
        });
        let app = builder.start().await;
        app.clock.advance(seconds(15));
        // After five failures the clock, which stands still, keeps the others back. Some of the
        // five may have failed before they reached the server.
        until("several polls", || polls(&wrong) >= 3).await;
        for _ in 0..5 {
            app.clock.advance(seconds(30));
            sleep(SOME_TICKS).await;
        }
        assert_eq!(
            app.database().await.value::<i64>(PENDING, &[]).await,
            i64::try_from(TASKS).unwrap()
        );
        let (_, builder) = app.stop().await;
        let app = builder
            .with(|config| config.evolink.base_url = right_url)
            .start()
            .await;
        // Longer than the longest gap between two polls.
        let gap = seconds(15 * 60);
        app.clock.advance(gap);
        until_recorded_by_polls(&app, COMPLETED, TASKS, gap).await;
        for item in app.get("/v1/tasks?limit=200").await.1["data"]
            .as_array()
            .unwrap()
        {
            let types = event_types(&app, item["id"].as_str().unwrap()).await;
            assert_eq!(types, ["task.submitted", "task.completed"]);
        }
    }))
    .await;
}

#[tokio::test]
async fn a_task_that_evolink_did_not_know_three_times_is_found_when_it_knows_it_again() {
    let gone = || http(404, &[], NOT_FOUND);
    let completed = http(200, &[], &body(ID, "completed"));
    let (app, evolink) = answering(vec![gone(), gone(), gone(), gone(), completed]).await;
    let task = app.submitted("a").await;
    for (number, gap) in [15, 3, 6].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
    }
    assert_eq!(state(&app).await, "unresolved");
    // Polls are rare: every hour, or up to a quarter of an hour later.
    next_poll_after(&app, seconds(3600), || polls(&evolink), 4).await;
    assert_eq!(state(&app).await, "unresolved");
    next_poll_after(&app, seconds(3600), || polls(&evolink), 5).await;
    app.task_when(ID, |task| task["receiver"]["state"] == "completed")
        .await;
    let types = event_types(&app, ID).await;
    assert_eq!(
        types,
        ["task.submitted", "task.unresolved", "task.completed"]
    );
    let late = app
        .callback_result(&token(&app, &task), body(ID, "completed"))
        .await;
    assert_eq!(late, "duplicate");
}

#[tokio::test]
async fn an_unresolved_task_that_runs_after_all_is_polled_at_the_usual_pace() {
    let gone = || http(404, &[], NOT_FOUND);
    let running = || http(200, &[], &body(ID, "processing"));
    let (app, evolink) = answering(vec![gone(), gone(), gone(), running()]).await;
    app.submitted("a").await;
    for (number, gap) in [15, 3, 6, 3600, 24, 48].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
    }
    assert_eq!(state(&app).await, "unresolved");
}

#[tokio::test]
async fn an_unresolved_task_is_not_polled_for_ever() {
    let (app, evolink) = answering(vec![http(404, &[], NOT_FOUND)]).await;
    app.submitted("a").await;
    for (number, gap) in [15, 3, 6].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
    }
    app.clock.advance(seconds(24 * 3600));
    until("the last poll", || polls(&evolink) == 4).await;
    until_recorded(
        &app,
        "SELECT count(*) FROM task WHERE next_poll_at IS NULL",
        1,
    )
    .await;
    app.clock.advance(seconds(24 * 3600));
    sleep(SOME_TICKS).await;
    assert_eq!(
        (polls(&evolink), state(&app).await),
        (4, "unresolved".into())
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_are_gone_beside_a_task_that_is_known_are_unresolved_after_three_polls() {
    let evolink = accepting(End::Close, |id| match id {
        "task-unified-1-0" => http(200, &[], &body(id, "processing")),
        _ => http(404, &[], NOT_FOUND),
    })
    .await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    submitted(&app, 4).await;
    for number in 1..=3 {
        app.clock.advance(seconds(30));
        until_recorded(&app, "SELECT MIN(polls) FROM task", number).await;
    }
    until_recorded(&app, UNRESOLVED, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tasks_that_are_all_gone_are_unresolved_when_they_have_had_their_time() {
    let knows_one = Arc::new(AtomicBool::new(false));
    let knows = Arc::clone(&knows_one);
    let evolink = accepting(End::Close, move |id| match id {
        "task-unified-1-20" if knows.load(Ordering::Relaxed) => {
            http(200, &[], &body(id, "completed"))
        }
        _ => http(404, &[], NOT_FOUND),
    })
    .await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| {
            config.evolink.base_url = url;
            config.evolink.polls_per_second = 100;
        })
        .start()
        .await;
    submitted(&app, TASKS).await;
    for number in 1..=6 {
        app.clock.advance(seconds(240));
        until_recorded(&app, "SELECT MIN(polls) FROM task", number).await;
    }
    assert_eq!(
        app.database().await.value::<i64>(PENDING, &[]).await,
        i64::try_from(TASKS).unwrap()
    );
    assert_eq!(app.counter("evolink_receiver_unknown_tasks_doubted"), 1);
    // They do not delay a task that EvoLink knows, and such a task shows that EvoLink works.
    knows_one.store(true, Ordering::Relaxed);
    submitted(&app, 1).await;
    app.clock.advance(seconds(15));
    until_recorded(&app, COMPLETED, 1).await;
    until("EvoLink is believed", || {
        app.counter("evolink_receiver_unknown_tasks_doubted") == 0
    })
    .await;
    app.clock.advance(seconds(24 * 3600));
    until_recorded(&app, UNRESOLVED, TASKS).await;
}

/// Number of unresolved tasks, which are all overdue.
const LOST: usize = 5000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_number_of_unresolved_tasks_delays_no_other_task() {
    let evolink = accepting(End::Close, |id| match id {
        "task-unified-1-0" => http(200, &[], &body(id, "completed")),
        _ => http(404, &[], NOT_FOUND),
    })
    .await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    submitted(&app, 1).await;
    let database = app.database().await;
    let began = Instant::now();
    let at = app.clock.now().as_millis();
    for first in (0..LOST).step_by(1000) {
        let rows = (first..first + 1000).map(|n| {
            format!(
                "({}, '{}', 'lost-{n}', 'submit', 'unresolved', 0, 'submit', 0, {at}, 1, 3, 0, 3)",
                n + 2,
                SubmissionId::new(app.clock.now())
            )
        });
        let rows: Vec<String> = rows.collect();
        let sql = "INSERT INTO task (seq, submission_id, task_id, origin, state, progress,
            source, observations, submitted_at, next_poll_at, polls, empty_polls, missed_polls) VALUES";
        database
            .execute(&format!("{sql} {}", rows.join(", ")))
            .await;
    }
    app.clock.advance(seconds(15));
    until_recorded(&app, COMPLETED, 1).await;
    until("some of the others are polled", || polls(&evolink) > 4).await;
    let lost = polls(&evolink) - 1;
    // Four every two seconds, and those of one more scan.
    let at_most = (began.elapsed().as_secs_f64() / 2.0 + 2.0) * 4.0;
    assert!(
        f64::from(u32::try_from(lost).unwrap()) <= at_most,
        "{lost} polls of unresolved tasks, not {at_most}"
    );
}
