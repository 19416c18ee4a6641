//! Every answer of EvoLink to a submit (rows E1, E2, …), end to end: what it means for the app, for
//! the record, and for what EvoLink sees.

use std::time::Duration;

use serde_json::{Value, json};

use crate::internal::calls::{
    PENDING, PENDING_ID, completed, generation, row_counts, state, submit, token_of,
};
use crate::support::app::answer::{Answer, get};
use crate::support::app::{EVOLINK_KEY, TestApp};
use crate::support::net::raw_server::{End, RawServer, http};

async fn app_of(base_url: &str, timeout: Duration) -> TestApp {
    let builder = TestApp::builder().with(|config| {
        config.evolink.base_url = base_url.parse().unwrap();
        config.evolink.timeout = timeout;
    });
    builder.start().await
}

/// A receiver, its EvoLink, and the answer to one submit.
async fn submit_to(bytes: Vec<u8>, end: End) -> (TestApp, RawServer, Answer) {
    let evolink = RawServer::start(bytes, end).await;
    let app = app_of(&evolink.url, Duration::from_secs(30)).await;
    let answer = submit(&app, &generation("a cute cat")).await;
    (app, evolink, answer)
}

/// Asserts a 504, the state `submit_unknown` and one POST. Then a callback with a new id resolves
/// it.
async fn assert_unknown(app: &TestApp, evolink: &RawServer, answer: &Answer, why: &str) {
    let id = answer.assert_unknown(why);
    let task = get(app, &format!("/v1/tasks/{id}")).await.body;
    assert_eq!(task["receiver"]["state"], "submit_unknown", "{why}");
    assert_eq!(
        (&task["id"], &task["status"]),
        (&json!(id), &json!("pending")),
        "{why}"
    );
    let token = token_of(app, &id);
    let result = app
        .callback_result(&token, completed("task-unified-1-adopted"))
        .await;
    assert_eq!(result, "recorded", "{why}");
    let task = get(app, "/v1/tasks/task-unified-1-adopted").await.body;
    assert_eq!(task["receiver"]["state"], "completed", "{why}");
    assert_eq!(task["receiver"]["submission_id"], id.as_str(), "{why}");
    assert_eq!(evolink.requests().len(), 1, "{why}");
}

#[tokio::test]
async fn e1_the_documented_answer_is_passed_on_verbatim_and_bound() {
    let extra = PENDING.replace(
        "\"progress\":0",
        "\"progress\":0,\"x\":{\"b\":0.10,\"a\":[1e2,null]}",
    );
    let (app, evolink, answer) = submit_to(http(200, &[], &extra), End::Close).await;
    assert_eq!(answer.status, 200);
    // EvoLink's text with every number unchanged, followed by our one key.
    let (theirs, ours) = answer.text.split_once(",\"receiver\":").unwrap();
    assert_eq!(format!("{theirs}}}"), extra);
    let receiver: Value = serde_json::from_str(ours.strip_suffix('}').unwrap()).unwrap();
    assert_eq!(
        (&receiver["state"], &receiver["source"]),
        (&json!("pending"), &json!("submit"))
    );
    assert_eq!(
        answer.header("x-submission-id"),
        receiver["submission_id"].as_str()
    );
    assert_eq!(
        answer.header("location"),
        Some(&*format!("/v1/tasks/{PENDING_ID}"))
    );
    assert!(answer.header("x-request-id").is_some());
    let location = get(&app, answer.header("location").unwrap()).await;
    assert_eq!(location.text, answer.text);
    assert_eq!(evolink.requests().len(), 1);
}

#[tokio::test]
async fn e2_success_without_a_usable_id_is_unknown() {
    let long = PENDING.replace(PENDING_ID, &"x".repeat(1024));
    let bodies = [
        PENDING.replace("\"id\":", "\"ID\":"),
        PENDING.replace(&format!("\"{PENDING_ID}\""), "1757165031"),
        PENDING.replace(PENDING_ID, ""),
        long,
        "<html>Just a moment</html>".to_owned(),
        String::new(),
        format!("[{PENDING}]"),
    ];
    for body in bodies {
        let (app, evolink, answer) = submit_to(http(200, &[], &body), End::Close).await;
        assert_unknown(&app, &evolink, &answer, &body).await;
    }
}

#[tokio::test]
async fn e2_an_id_of_another_submission_is_unknown() {
    let (app, evolink, first) = submit_to(http(200, &[], PENDING), End::Close).await;
    assert_eq!(first.status, 200);
    let second = submit(&app, &generation("another cat")).await;
    let id = second.assert_unknown("bound to another");
    assert_eq!(state(&app, &id).await, "submit_unknown");
    let bound = get(&app, &format!("/v1/tasks/{PENDING_ID}")).await;
    assert_eq!(
        Some(bound.body["receiver"]["submission_id"].as_str().unwrap()),
        first.header("x-submission-id")
    );
    let token = token_of(&app, &id);
    assert_eq!(
        app.callback_result(&token, completed("task-unified-1-own"))
            .await,
        "recorded"
    );
    assert_eq!(state(&app, &id).await, "completed");
    assert_eq!(evolink.requests().len(), 2);
}

#[tokio::test]
async fn e3_an_answer_may_be_the_outcome() {
    let body = completed(PENDING_ID);
    let (app, _evolink, answer) = submit_to(http(200, &[], &body), End::Close).await;
    assert_eq!(
        (answer.status, &answer.body["status"]),
        (200, &json!("completed"))
    );
    let receiver = &answer.body["receiver"];
    assert_eq!(
        (&receiver["state"], &receiver["source"]),
        (&json!("completed"), &json!("submit"))
    );
    assert!(receiver["outcome_at"].is_string());
    assert_eq!(
        receiver["results"][0]["origin_url"],
        "https://files.evolink.ai/0.webp"
    );
    assert_eq!(
        app.counter("evolink_receiver_outcomes_total{type=\"task.completed\",source=\"submit\"}"),
        1
    );
}

#[tokio::test]
async fn an_answer_that_claims_completion_without_results_is_no_outcome() {
    let body = format!(r#"{{"id":"{PENDING_ID}","status":"completed"}}"#);
    let (app, _evolink, answer) = submit_to(http(200, &[], &body), End::Close).await;
    assert_eq!(
        (answer.status, &answer.body["receiver"]["state"]),
        (200, &json!("pending"))
    );
    assert_eq!(
        (&answer.body["id"], &answer.body["status"]),
        (&json!(PENDING_ID), &json!("pending"))
    );
    assert_eq!(state(&app, PENDING_ID).await, "pending");
}

#[tokio::test]
async fn e4_a_refusal_is_passed_on_byte_for_byte() {
    for status in [400, 402, 403, 404, 409, 413, 422] {
        for code in ["\"invalid_request\"", "400"] {
            let body = format!(
                r#"{{"error": {{"code":{code},"message":"m\n","type":"t","param":"size","x":1.0}} }}"#
            );
            let (app, evolink, answer) = submit_to(http(status, &[], &body), End::Close).await;
            assert_eq!((answer.status, &answer.text), (status, &body));
            let id = answer.header("x-submission-id").unwrap();
            let task = get(&app, &format!("/v1/tasks/{id}")).await.body;
            assert_eq!(task["receiver"]["state"], "rejected");
            assert_eq!(
                (&task["status"], &task["error"]["message"]),
                (&json!("failed"), &json!("m\n"))
            );
            assert_eq!(evolink.requests().len(), 1);
        }
    }
}

/// For example the page of a gateway in front of EvoLink. A client cannot parse it as JSON.
#[tokio::test]
async fn a_refusal_in_another_form_is_put_into_ours() {
    let long = "x".repeat(100_000);
    for (status, body, begins) in [
        (
            403,
            "<html>Just a moment</html>",
            "EvoLink answered 403: <html>Just a moment",
        ),
        (413, "", "EvoLink answered 413 without a body"),
        (429, "slow down", "EvoLink answered 429: slow down"),
        (400, "[]", "EvoLink answered 400: []"),
        (
            404,
            r#"{"detail":"x"}"#,
            "EvoLink answered 404: {\"detail\"",
        ),
        (422, &long, "EvoLink answered 422: xxx"),
    ] {
        let bytes = http(status, &["retry-after: 7"], body);
        let (app, evolink, answer) = submit_to(bytes, End::Close).await;
        answer.assert_error(status, "evolink_error", None, body);
        let message = answer.body["error"]["message"].as_str().unwrap();
        assert!(message.starts_with(begins), "{message}");
        assert!(message.len() < 300, "{message}");
        assert_eq!(answer.header("content-type"), Some("application/json"));
        assert_eq!(answer.header("retry-after"), Some("7"));
        let id = answer.header("x-submission-id").unwrap();
        assert_eq!(state(&app, id).await, "rejected");
        assert_eq!(evolink.requests().len(), 1);
    }
}

#[tokio::test]
async fn an_echo_of_our_evolink_key_is_redacted() {
    let body =
        format!(r#"{{"error":{{"code":"unauthorized","message":"no such key {EVOLINK_KEY}"}}}}"#);
    let (app, _evolink, answer) = submit_to(http(403, &[], &body), End::Close).await;
    assert_eq!(
        (answer.status, &answer.text),
        (403, &body.replace(EVOLINK_KEY, "[redacted]"))
    );
    let id = answer.header("x-submission-id").unwrap();
    assert!(
        !get(&app, &format!("/v1/tasks/{id}"))
            .await
            .text
            .contains(EVOLINK_KEY)
    );
}

#[tokio::test]
async fn e5_too_many_requests_is_passed_on_with_its_retry_after() {
    for (headers, wanted) in [(vec!["retry-after: 7"], Some("7")), (vec![], None)] {
        let body =
            r#"{"error":{"code":"rate_limit_exceeded","message":"m","type":"rate_limit_error"}}"#;
        let (app, evolink, answer) = submit_to(http(429, &headers, body), End::Close).await;
        assert_eq!(
            (
                answer.status,
                answer.text.as_str(),
                answer.header("retry-after")
            ),
            (429, body, wanted)
        );
        assert_eq!(
            state(&app, answer.header("x-submission-id").unwrap()).await,
            "rejected"
        );
        assert_eq!(evolink.requests().len(), 1);
    }
}

#[tokio::test]
async fn e6_what_says_nothing_about_acceptance_is_unknown() {
    let paid = r#"{"error":{"code":"paid_outcome_unknown","message":"m"}}"#;
    let location = "location: http://127.0.0.1:9/";
    let mut rows: Vec<(String, Vec<u8>, End)> = [500, 502, 503, 504, 408, 301, 302, 307, 308]
        .into_iter()
        .map(|status| {
            (
                status.to_string(),
                http(status, &[location], PENDING),
                End::Close,
            )
        })
        .collect();
    rows.push(("paid".to_owned(), http(409, &[], paid), End::Close));
    rows.push(("reset".to_owned(), Vec::new(), End::Reset));
    rows.push(("closed".to_owned(), Vec::new(), End::Close));
    rows.push((
        "cut".to_owned(),
        b"HTTP/1.1 200 OK\r\ncontent-length: 999\r\n\r\n{".to_vec(),
        End::Close,
    ));
    rows.push((
        "2 MiB".to_owned(),
        http(200, &[], &format!("{PENDING}{}", " ".repeat(2 << 20))),
        End::Close,
    ));
    for (why, bytes, end) in rows {
        let (app, evolink, answer) = submit_to(bytes, end).await;
        assert_unknown(&app, &evolink, &answer, &why).await;
    }
}

#[tokio::test]
async fn e6_a_stall_is_unknown_once_the_time_is_up() {
    let evolink = RawServer::start(Vec::new(), End::Open).await;
    let app = app_of(&evolink.url, Duration::from_secs(4)).await;
    let answer = submit(&app, &generation("a cute cat")).await;
    assert_unknown(&app, &evolink, &answer, "stalled").await;
}

#[tokio::test]
async fn e7_where_no_connection_is_made_nothing_was_sent() {
    let plain = RawServer::start(http(200, &[], PENDING), End::Close).await;
    let bad_tls = plain.url.replace("http://", "https://");
    for url in [
        "http://127.0.0.1:1",
        "https://no-such-host.invalid",
        &bad_tls,
    ] {
        let app = app_of(url, Duration::from_secs(2)).await;
        let answer = submit(&app, &generation("a cute cat")).await;
        answer.assert_error(503, "evolink_unreachable", None, url);
        assert!(answer.header("retry-after").is_some());
        let page = get(&app, "/v1/tasks").await.body;
        let record = &page["data"][0]["receiver"];
        assert_eq!(record["state"], "rejected", "{url}");
        let id = record["submission_id"].as_str();
        assert_eq!(answer.header("x-submission-id"), id, "{url}");
        assert_eq!(answer.body["error"]["submission_id"].as_str(), id, "{url}");
        assert_eq!(row_counts(&app).await[0], 1);
    }
    assert!(plain.requests().is_empty());
}

#[tokio::test]
async fn e9_an_unknown_status_and_unknown_members_are_shown_as_they_came() {
    let body =
        format!(r#"{{"id":"{PENDING_ID}","status":"weird","progress":7,"x":[{{"y":1.0}}]}}"#);
    let (app, _evolink, answer) = submit_to(http(200, &[], &body), End::Close).await;
    assert_eq!(answer.status, 200);
    let theirs = answer.text.split_once(",\"receiver\":").unwrap().0;
    assert_eq!(format!("{theirs}}}"), body);
    assert_eq!(state(&app, PENDING_ID).await, "pending");
}
