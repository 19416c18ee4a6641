//! What no callback told is found by asking: at its pace, as often as EvoLink allows, and never for ever.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use evolink_receiver::domain::callback_token::Subject;
use evolink_receiver::simulator::Options;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use crate::support::app::{TestApp, TestAppBuilder};
use crate::support::raw_server::{End, RawServer, http};
use crate::support::until::until;

/// Two looks of the reconciler and some: enough for what must not happen to happen.
const SOME_TICKS: Duration = Duration::from_millis(1300);

const ID: &str = "task-unified-1-polled";

const BY_POLL: &str = "evolink_receiver_outcomes_total{type=\"task.completed\",source=\"poll\"}";

fn seconds(number: u64) -> Duration {
    Duration::from_secs(number)
}

fn body(id: &str, status: &str) -> String {
    json!({"id": id, "status": status, "results": ["https://files.evolink.ai/0.webp"]}).to_string()
}

fn builder() -> TestAppBuilder {
    TestApp::builder().with_manual_clock()
}

/// EvoLink as a list of answers to polls, the last of which it repeats.
async fn answering(polls: Vec<Vec<u8>>) -> (TestApp, RawServer) {
    let next = AtomicUsize::new(0);
    let evolink = RawServer::start_answering(
        move |request| {
            if request.starts_with("POST ") {
                return http(200, &[], &body(ID, "pending"));
            }
            let number = next.fetch_add(1, Ordering::Relaxed);
            polls[number.min(polls.len() - 1)].clone()
        },
        End::Close,
    )
    .await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    (app, evolink)
}

fn polls(evolink: &RawServer) -> usize {
    evolink
        .requests()
        .iter()
        .filter(|request| request.starts_with("GET "))
        .count()
}

/// Moves the clock to just before the next poll, which must not come, then to it; `polled` must be the number then.
async fn next_poll_after(app: &TestApp, gap: Duration, count: impl Fn() -> usize, number: usize) {
    app.clock
        .advance(gap.saturating_sub(Duration::from_millis(1)));
    sleep(SOME_TICKS).await;
    assert_eq!(count(), number - 1, "before its time");
    app.clock.advance(Duration::from_millis(1));
    until("the poll", || count() == number).await;
    let recorded = app.database().await;
    let deadline = Instant::now() + seconds(60);
    while sqlx::query_scalar::<_, i64>("SELECT polls FROM task")
        .fetch_one(&recorded)
        .await
        .unwrap()
        < i64::try_from(number).unwrap()
    {
        assert!(Instant::now() < deadline, "the poll was not recorded");
        sleep(Duration::from_millis(20)).await;
    }
}

async fn state(app: &TestApp) -> Value {
    app.get(&format!("/v1/tasks/{ID}")).await.1["receiver"]["state"].clone()
}

fn token(app: &TestApp, task: &Value) -> String {
    let id = task["receiver"]["submission_id"].as_str().unwrap();
    app.token(&Subject::Submission(id.parse().unwrap()))
}

async fn event_types(app: &TestApp, id: &str) -> Vec<String> {
    let history = app.get(&format!("/v1/tasks/{id}/events")).await.1;
    let items = history["data"].as_array().unwrap().iter();
    let types = items.map(|item| item["type"].as_str().unwrap().to_owned());
    types.filter(|kind| kind != "observation").collect()
}

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
    assert_eq!(app.counter(BY_POLL), 1);
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
async fn e8_three_times_unknown_ends_the_asking_and_a_later_callback_counts() {
    let invalid = r#"{"error":{"code":"invalid_task_id","message":"m","param":"task_id"}}"#;
    for gone in [
        http(404, &[], "{}"),
        http(410, &[], ""),
        http(400, &[], invalid),
    ] {
        let (app, evolink) = answering(vec![gone]).await;
        let task = app.submitted("a").await;
        for (number, gap) in [15, 3].into_iter().enumerate() {
            next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
            assert_eq!(state(&app).await, "pending");
        }
        next_poll_after(&app, seconds(6), || polls(&evolink), 3).await;
        assert_eq!(state(&app).await, "unresolved");
        app.clock.advance(seconds(3600));
        sleep(SOME_TICKS).await;
        assert_eq!(polls(&evolink), 3);
        let history = app.get(&format!("/v1/tasks/{ID}/events")).await.1;
        let unresolved = history["data"]
            .as_array()
            .unwrap()
            .iter()
            .find(|item| item["type"] == "task.unresolved")
            .unwrap();
        assert_eq!(
            unresolved["task"],
            app.get(&format!("/v1/tasks/{ID}")).await.1
        );
        assert_eq!(
            app.callback_result(&token(&app, &task), body(ID, "completed"))
                .await,
            "recorded"
        );
        assert_eq!(state(&app).await, "completed");
        assert_eq!(
            event_types(&app, ID).await,
            ["task.submitted", "task.unresolved", "task.completed"]
        );
    }
}

#[tokio::test]
async fn e8_only_three_times_running_count() {
    let (gone, seen) = (
        http(404, &[], "{}"),
        http(200, &[], &body(ID, "processing")),
    );
    let (app, evolink) =
        answering(vec![gone.clone(), gone.clone(), seen, gone.clone(), gone]).await;
    app.submitted("a").await;
    for (number, gap) in [15, 3, 6, 12, 24].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
    }
    assert_eq!(state(&app).await, "processing");
    next_poll_after(&app, seconds(48), || polls(&evolink), 6).await;
    assert_eq!(state(&app).await, "unresolved");
}

#[tokio::test]
async fn i17_a_task_that_never_ends_is_given_up_and_a_later_outcome_counts() {
    let give_up = |config: &mut evolink_receiver::config::Config| {
        config.reconcile.give_up_after = seconds(3600);
    };
    let (app, _evolink) = builder()
        .with(give_up)
        .start_with_simulator(Options::default())
        .await;
    let task = app.submitted("[sim:never-ends]").await;
    let id = task["id"].as_str().unwrap();
    app.clock.advance(seconds(3600));
    app.task_when(id, |task| task["receiver"]["state"] == "unresolved")
        .await;
    assert_eq!(app.counter(BY_POLL), 0);
    assert_eq!(
        app.callback_result(&token(&app, &task), body(id, "completed"))
            .await,
        "recorded"
    );
    assert_eq!(
        app.get(&format!("/v1/tasks/{id}")).await.1["receiver"]["state"],
        "completed"
    );
    let types = event_types(&app, id).await;
    assert_eq!(
        types
            .iter()
            .filter(|kind| *kind == "task.completed")
            .count(),
        1,
        "{types:?}"
    );
}

#[tokio::test]
async fn a_429_leaves_evolink_in_peace_for_as_long_as_it_says() {
    let number = AtomicUsize::new(0);
    let evolink = RawServer::start_answering(
        move |request| {
            if request.starts_with("POST ") {
                let number = number.fetch_add(1, Ordering::Relaxed);
                return http(
                    200,
                    &[],
                    &body(&format!("task-unified-1-{number}"), "pending"),
                );
            }
            http(429, &["retry-after: 30"], "{}")
        },
        End::Close,
    )
    .await;
    let url = evolink.url.parse().unwrap();
    let app = builder()
        .with(|config| config.evolink.base_url = url)
        .start()
        .await;
    for _ in 0..12 {
        app.submitted("a").await;
    }
    app.clock.advance(seconds(15));
    let throttled = "evolink_receiver_polls_total{result=\"throttled\"}";
    until("a poll", || app.counter(throttled) > 0).await;
    sleep(SOME_TICKS).await;
    let first = polls(&evolink);
    assert!(
        (1..=4).contains(&first),
        "{first}: at most those that were under way when the first 429 came"
    );
    app.clock.advance(seconds(29));
    sleep(SOME_TICKS).await;
    assert_eq!(polls(&evolink), first);
    app.clock.advance(seconds(1));
    until("polls go on", || polls(&evolink) > first).await;
}

#[tokio::test]
async fn b6_the_third_poll_that_names_no_result_makes_it_an_outcome() {
    let empty = http(
        200,
        &[],
        &json!({"id": ID, "status": "completed", "results": []}).to_string(),
    );
    let (app, evolink) = answering(vec![empty]).await;
    app.submitted("a").await;
    for (number, gap) in [15, 3].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
        assert_eq!(state(&app).await, "pending");
    }
    next_poll_after(&app, seconds(6), || polls(&evolink), 3).await;
    let task = app.get(&format!("/v1/tasks/{ID}")).await.1;
    assert_eq!(
        (&task["receiver"]["state"], &task["receiver"]["source"]),
        (&json!("completed"), &json!("poll"))
    );
    assert_eq!(app.counter(BY_POLL), 1);
}

#[tokio::test]
async fn b12_an_answer_about_another_task_is_quarantined_and_changes_nothing() {
    let (app, evolink) = answering(vec![http(
        200,
        &[],
        &body("task-unified-1-another", "completed"),
    )])
    .await;
    app.submitted("a").await;
    let before = app.get(&format!("/v1/tasks/{ID}")).await.1;
    next_poll_after(&app, seconds(15), || polls(&evolink), 1).await;
    assert_eq!(app.get(&format!("/v1/tasks/{ID}")).await.1, before);
    assert_eq!(app.get("/v1/tasks/task-unified-1-another").await.0, 404);
    assert_eq!(event_types(&app, ID).await, ["task.submitted"]);
    let quarantined: Vec<(String, Vec<u8>)> =
        sqlx::query_as("SELECT task_id, body FROM quarantine")
            .fetch_all(&app.database().await)
            .await
            .unwrap();
    assert_eq!(
        quarantined,
        [(
            "task-unified-1-another".to_owned(),
            body("task-unified-1-another", "completed").into_bytes()
        )]
    );
    next_poll_after(&app, seconds(3), || polls(&evolink), 2).await;
}

#[tokio::test]
async fn polls_that_fail_or_are_no_task_change_nothing_and_go_on() {
    let answers = vec![
        http(500, &[], ""),
        http(200, &[], "<html>"),
        Vec::new(),
        http(403, &[], "{}"),
        http(200, &[], &body(ID, "failed")),
    ];
    let (app, evolink) = answering(answers).await;
    app.submitted("a").await;
    for (number, gap) in [15, 3, 6, 12].into_iter().enumerate() {
        next_poll_after(&app, seconds(gap), || polls(&evolink), number + 1).await;
        assert_eq!(state(&app).await, "pending");
    }
    next_poll_after(&app, seconds(24), || polls(&evolink), 5).await;
    assert_eq!(state(&app).await, "failed");
}
