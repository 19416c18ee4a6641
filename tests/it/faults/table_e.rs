//! Table E from start to end: how a submit ends after EvoLink's answer, when its callback or a poll
//! reports more. `internal::submits::answers` tests what each answer means for the app, and
//! `reconciler::endings` tests the polls of E8.

use std::time::Duration;

use evolink_receiver::domain::callback::Subject;
use evolink_receiver::simulator::Options;
use serde_json::{Value, json};

use crate::support::app::TestApp;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::store::check;
use crate::support::until::until;

const ID: &str = "task-unified-1757165031-tablee00";

fn body(status: &str) -> String {
    json!({"id": ID, "status": status, "results": ["https://files.evolink.ai/0.webp"], "x": {"y": 1.0}})
        .to_string()
}

/// Starts a receiver whose EvoLink answers a submit with `post` and a poll with `get`.
async fn answering(post: Vec<u8>, get: Vec<u8>) -> (TestApp, RawServer) {
    let answers = move |request: &str| {
        let answer = if request.starts_with("POST ") {
            &post
        } else {
            &get
        };
        answer.clone()
    };
    let evolink = RawServer::start_answering(answers, End::Close).await;
    let url = evolink.url.parse().unwrap();
    let builder = TestApp::builder().with_manual_clock();
    let app = builder.with(|config| config.evolink.base_url = url);
    (app.start().await, evolink)
}

/// Submits, and returns the status of the answer and the record.
async fn submitted(app: &TestApp) -> (u16, Value) {
    let (status, _) = app
        .submit(&json!({"model": "z-image-turbo", "prompt": "a cat"}))
        .await;
    (status, record(app).await)
}

async fn record(app: &TestApp) -> Value {
    let (_, page) = app.get("/v1/tasks").await;
    assert_eq!(page["data"].as_array().unwrap().len(), 1, "{page}");
    page["data"][0].clone()
}

async fn callback(app: &TestApp, task: &Value, body: String) -> String {
    let id = task["receiver"]["submission_id"].as_str().unwrap();
    let token = app.token(&Subject::Submission(id.parse().unwrap()));
    app.callback_result(&token, body).await
}

/// Asserts that EvoLink saw `posts` POSTs, whatever came afterwards, and that the store is
/// consistent.
async fn assert_sound(app: &TestApp, evolink: &RawServer, posts: usize) {
    let requests = evolink.requests();
    let sent = requests
        .iter()
        .filter(|request| request.starts_with("POST "));
    assert_eq!(sent.count(), posts);
    let faults = check::faults(&app.store, &[]).await;
    assert!(faults.is_empty(), "{faults:#?}");
    app.assert_counters_balance();
}

#[tokio::test]
async fn e3_a_callback_after_an_answer_that_was_the_outcome_is_a_duplicate_or_a_conflict() {
    for ended in ["completed", "failed", "cancelled"] {
        let (app, evolink) = answering(http(200, &[], &body(ended)), http(500, &[], "")).await;
        let (status, task) = submitted(&app).await;
        assert_eq!((status, &task["receiver"]["state"]), (200, &json!(ended)));
        for told in ["completed", "failed", "cancelled"] {
            let expected = if told == ended {
                "duplicate"
            } else {
                "conflict"
            };
            assert_eq!(
                callback(&app, &task, body(told)).await,
                expected,
                "{told} after {ended}"
            );
            assert_eq!(record(&app).await, task, "{told} after {ended}");
        }
        assert_sound(&app, &evolink, 1).await;
    }
}

#[tokio::test]
async fn e3_the_simulators_own_callback_after_such_an_answer_is_a_duplicate() {
    let (app, evolink) = TestApp::start_with_simulator(Options::default()).await;
    let task = app
        .submitted("[sim:answer-ended,late-callback=200ms]")
        .await;
    assert_eq!(
        (&task["receiver"]["state"], &task["receiver"]["source"]),
        (&json!("completed"), &json!("submit"))
    );
    let duplicates = "evolink_receiver_callbacks_total{result=\"duplicate\"}";
    until("the callback", || app.counter(duplicates) == 1).await;
    assert_eq!(evolink.stats().charges, 1);
}

/// EvoLink refused the submit or was not reached, and calls back nevertheless. The callback counts,
/// not the refusal.
#[tokio::test]
async fn e4_e5_a_callback_revives_what_was_refused() {
    let refused = |status| {
        http(
            status,
            &["retry-after: 1"],
            r#"{"error":{"code":400,"message":"m"}}"#,
        )
    };
    for status in [400, 401, 402, 403, 413, 429] {
        let (app, evolink) = answering(refused(status), http(500, &[], "")).await;
        let (answered, task) = submitted(&app).await;
        // A 401 concerns our API key, not the app's request.
        let expected = if status == 401 { 502 } else { status };
        assert_eq!(
            (answered, &task["receiver"]["state"]),
            (expected, &json!("rejected"))
        );
        assert_eq!(callback(&app, &task, body("completed")).await, "recorded");
        let task = record(&app).await;
        assert_eq!(
            (&task["id"], &task["receiver"]["state"]),
            (&json!(ID), &json!("completed")),
            "{status}"
        );
        assert_eq!(app.counter("evolink_receiver_restored_total"), 1);
        assert_sound(&app, &evolink, 1).await;
    }
}

#[tokio::test]
async fn e6_what_is_unknown_is_pending_after_a_staged_callback_and_is_then_asked_after() {
    let answers = (http(502, &[], "<html>"), http(200, &[], &body("completed")));
    let (app, evolink) = answering(answers.0, answers.1).await;
    let (status, task) = submitted(&app).await;
    assert_eq!(
        (status, &task["receiver"]["state"]),
        (504, &json!("submit_unknown"))
    );
    assert_eq!(callback(&app, &task, body("processing")).await, "recorded");
    assert_eq!(record(&app).await["receiver"]["state"], "processing");
    // The last callback is lost. The task id is known now, so the task is polled.
    app.clock.advance(Duration::from_secs(15));
    let task = app
        .task_when(ID, |task| task["status"] == "completed")
        .await;
    assert_eq!(task["receiver"]["source"], "poll");
    assert_sound(&app, &evolink, 1).await;
}

#[tokio::test]
async fn e9_a_submit_answered_with_a_status_that_nobody_knows_is_polled() {
    let (app, evolink) = answering(
        http(200, &[], &body("weird")),
        http(200, &[], &body("completed")),
    )
    .await;
    let (status, _) = submitted(&app).await;
    assert_eq!(status, 200);
    // No wait is needed, because this clock stands still.
    let task = app
        .task_when(ID, |task| task["status"] == "completed")
        .await;
    assert_eq!(task["receiver"]["source"], "poll");
    assert_sound(&app, &evolink, 1).await;
}
