//! A submit that waits for its task: one request, one answer. A submit that EvoLink charged is
//! never refused for lack of a permit.

use evolink_receiver::simulator::{Options, Simulator};
use reqwest::Method;
use serde_json::json;

use super::{SEATS_TAKEN, SILENT, nobody_waits, submission_id, waiting};
use crate::support::app::TestApp;
use crate::support::app::waiting::{LONG_WAIT, TOLD_WITHIN, body, send};
use crate::support::described::RequestBuilder;
use crate::support::net::raw::RawClient;
use crate::support::until::until;

const KEY: &str = "order-4711-picture-1";

async fn started() -> (TestApp, Simulator) {
    TestApp::start_with_simulator(Options::default()).await
}

fn submit(app: &TestApp, query: &str, prompt: &str) -> RequestBuilder {
    let path = format!("/v1/images/generations{query}");
    app.request(Method::POST, &path)
        .json(&json!({"model": "z-image-turbo", "prompt": prompt}))
}

#[tokio::test]
async fn the_finished_task_is_the_answer_with_the_headers_of_a_submit() {
    let (app, evolink) = started().await;
    let cat = "a cat [sim:duration=300ms]";
    let asked = send(submit(&app, &format!("?wait={LONG_WAIT}"), cat)).await;
    asked.assert_told("completed");
    assert_eq!(asked.header("preference-applied"), None);
    let preferred = send(submit(&app, "", cat).header("prefer", "wait=45")).await;
    preferred.assert_told("completed");
    assert_eq!(preferred.header("preference-applied"), Some("wait=45"));
    for answer in [asked, preferred] {
        let (id, submission) = (&answer.body["id"], submission_id(&answer.body));
        let location = format!("/v1/tasks/{}", id.as_str().unwrap());
        assert_eq!(answer.header("location"), Some(location.as_str()));
        assert_eq!(answer.header("x-submission-id"), Some(submission.as_str()));
    }
    let failing = send(submit(&app, "?wait=45", "[sim:duration=1ms,fail]")).await;
    failing.assert_told("failed");
    assert_eq!(evolink.stats().submits, 3);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn the_time_over_the_task_is_answered_as_it_is() {
    let (app, _evolink) = started().await;
    let answer = send(submit(&app, "?wait=1", SILENT)).await;
    answer.assert_told("pending");
    nobody_waits(&app).await;
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_bad_wait_is_refused_before_anything_is_sent() {
    let (app, evolink) = started().await;
    for (query, param) in [
        ("?wait=-1", "wait"),
        ("?wait=NaN", "wait"),
        ("?wait=10s", "wait"),
        ("?wiat=10", "wiat"),
    ] {
        let answer = send(submit(&app, query, SILENT)).await;
        answer.assert_error(400, "invalid_request", Some(param));
    }
    assert_eq!(
        (
            evolink.stats().submits,
            app.get("/v1/tasks").await.1["data"].clone()
        ),
        (0, json!([]))
    );
    send(submit(&app, "?wait=0", SILENT))
        .await
        .assert_told("pending");
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn an_error_of_the_submit_comes_at_once() {
    let (app, _evolink) = started().await;
    for (prompt, status, code) in [
        ("x [sim:rate-limited]", 429, "rate_limit_exceeded"),
        ("x [sim:reset]", 504, "submit_outcome_unknown"),
        (" ", 400, "invalid_request"),
    ] {
        let answer = send(submit(&app, "?wait=45", prompt)).await;
        assert_eq!(
            (answer.status, &answer.body["error"]["code"]),
            (status, &json!(code))
        );
        assert!(answer.took < TOLD_WITHIN, "{answer:?}");
    }
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_replay_waits_too() {
    let (app, evolink) = started().await;
    let under = |query: &str| submit(&app, query, SILENT).header("idempotency-key", KEY);
    let first = send(under("")).await;
    first.assert_told("pending");
    let task_id = first.body["id"].as_str().unwrap().to_owned();
    let replaying = waiting(&app, under("?wait=45")).await;
    let id = submission_id(&first.body);
    let token = app.token(&evolink_receiver::domain::callback::Subject::Submission(
        id.parse().unwrap(),
    ));
    let result = app
        .callback_result(&token, body(&task_id, "completed"))
        .await;
    assert_eq!(result, "recorded");
    let replayed = replaying.await.unwrap();
    replayed.assert_told("completed");
    assert_eq!(replayed.header("idempotency-replayed"), Some("true"));
    // A request that does not wait gets the same answer as the first.
    let again = send(under("")).await;
    assert_eq!(again.body, first.body);
    send(under("?wait=1")).await.assert_told("completed");
    assert_eq!(evolink.stats().submits, 1);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn where_too_many_wait_a_submit_is_answered_without_waiting() {
    let builder = TestApp::builder().with(|config| config.internal.max_connections = 4);
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let mut waits = Vec::new();
    for _ in 0..3 {
        waits.push(waiting(&app, submit(&app, "?wait=45", SILENT)).await);
    }
    let answer = send(submit(&app, "", SILENT).header("prefer", "wait=45")).await;
    answer.assert_told("pending");
    assert_eq!(answer.header("preference-applied"), None);
    assert_eq!(evolink.stats().submits, 4);
    for waiting in &waits {
        assert!(!waiting.is_finished());
        waiting.abort();
    }
    nobody_waits(&app).await;
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_disconnect_frees_the_permit_and_changes_nothing_else() {
    let (app, evolink) = started().await;
    let body = json!({"model": "z-image-turbo", "prompt": SILENT}).to_string();
    let mut client = RawClient::connect_plain(app.internal).await;
    let head = "POST /v1/images/generations?wait=45 HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json";
    let length = body.len();
    client
        .send(format!("{head}\r\ncontent-length: {length}\r\n\r\n{body}"))
        .await;
    until("it waits", || app.counter(SEATS_TAKEN) == 1).await;
    drop(client);
    nobody_waits(&app).await;
    let listed = app.get("/v1/tasks").await.1;
    assert_eq!(listed["data"][0]["receiver"]["state"], "pending");
    assert_eq!(evolink.stats().submits, 1);
    app.stop().await.0.unwrap();
}

#[tokio::test]
async fn a_stop_answers_a_submit_that_waits_with_its_task() {
    let (app, _evolink) = started().await;
    let waiting = waiting(&app, submit(&app, "?wait=45", SILENT)).await;
    app.stop().await.0.unwrap();
    waiting.await.unwrap().assert_told("pending");
}
