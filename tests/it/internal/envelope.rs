//! Errors and what all answers have in common: EvoLink's envelope, request ids, methods, and the
//! bounds of request bodies.

use std::time::Duration;

use evolink_receiver::config::ByteSize;
use evolink_receiver::simulator::Options;
use reqwest::Method;
use serde_json::json;
use tokio::time::Instant;

use super::calls::{SUBMIT, generation, row_counts, submission, submit};
use crate::support::app::TestApp;
use crate::support::app::answer::{get, send};
use crate::support::net::raw::RawClient;

#[tokio::test]
async fn an_unknown_route_is_a_404_in_the_envelope() {
    let app = TestApp::start().await;
    for path in [
        "/v1/nothing",
        "/v1",
        "/v1/tasks/",
        "/v1/tasks/a/b",
        "/callbacks/x",
        "/v1/images",
        "//v1/tasks",
        "/V1/tasks",
    ] {
        let answer = get(&app, path).await;
        answer.assert_error(404, "not_found", None, path);
        assert_eq!(answer.header("content-type"), Some("application/json"));
    }
}

#[tokio::test]
async fn a_wrong_method_is_a_405_with_allow() {
    let app = TestApp::start().await;
    let rows = [
        (Method::GET, SUBMIT, "POST"),
        (Method::PUT, SUBMIT, "POST"),
        (Method::POST, "/v1/tasks", "GET,HEAD"),
        (Method::DELETE, "/v1/tasks/task-unified-1-a", "GET,HEAD"),
        (
            Method::POST,
            "/v1/tasks/task-unified-1-a/events",
            "GET,HEAD",
        ),
        (Method::PATCH, "/v1/credits", "GET,HEAD"),
        (Method::POST, "/metrics", "GET,HEAD"),
    ];
    for (method, path, allow) in rows {
        let answer = send(app.request(method.clone(), path)).await;
        answer.assert_error(405, "method_not_allowed", None, path);
        assert_eq!(answer.header("allow"), Some(allow), "{method} {path}");
    }
}

#[tokio::test]
async fn head_is_get_without_the_body() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    let task = app.submitted("[sim:duration=10m]").await;
    let path = format!("/v1/tasks/{}", task["id"].as_str().unwrap());
    for path in [
        path.as_str(),
        "/v1/tasks",
        "/v1/tasks/unknown",
        "/livez",
        "/v1/credits",
    ] {
        let (got, head) = (
            get(&app, path).await,
            send(app.request(Method::HEAD, path)).await,
        );
        assert_eq!(
            (head.status, head.text.as_str()),
            (got.status, ""),
            "{path}"
        );
        assert_eq!(
            head.header("content-length"),
            got.header("content-length"),
            "{path}"
        );
        assert_eq!(
            head.header("content-type"),
            got.header("content-type"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn every_answer_has_a_request_id_and_a_usable_one_of_the_client_is_kept() {
    let (app, _evolink) = TestApp::start_with_simulator(Options::default()).await;
    for path in [
        "/livez",
        "/readyz",
        "/metrics",
        "/v1/tasks",
        "/v1/tasks/unknown",
        "/v1/credits",
        "/nothing",
        SUBMIT,
    ] {
        let own = get(&app, path).await;
        assert!(
            own.header("x-request-id").is_some_and(|id| id.len() == 36),
            "{path}"
        );
        let theirs = send(
            app.request(Method::GET, path)
                .header("x-request-id", "my-request.7"),
        )
        .await;
        assert_eq!(
            theirs.header("x-request-id"),
            Some("my-request.7"),
            "{path}"
        );
        let hostile = send(
            app.request(Method::GET, path)
                .header("x-request-id", "a b\"<c>"),
        )
        .await;
        assert_ne!(hostile.header("x-request-id"), Some("a b\"<c>"), "{path}");
    }
    for body in [
        generation("[sim:duration=10m]"),
        generation("[sim:reset]"),
        generation("[sim:no-quota]"),
        json!({}),
    ] {
        let answer = submit(&app, &body).await;
        assert!(answer.header("x-request-id").is_some(), "{body}");
        assert_eq!(
            answer.header("x-submission-id").is_some(),
            answer.status != 400,
            "{body}"
        );
    }
}

#[tokio::test]
async fn n8_bodies_out_of_bounds_are_refused_before_they_are_judged() {
    let builder = TestApp::builder().with(|config| config.internal.max_body = ByteSize::kib(64));
    let (app, evolink) = builder.start_with_simulator(Options::default()).await;
    let padded = |bytes: usize| {
        let body = generation("[sim:duration=10m]").to_string();
        format!("{body}{}", " ".repeat(bytes - body.len()))
    };
    let fits = send(submission(&app, padded(64 * 1024))).await;
    assert_eq!(fits.status, 200);
    let over = send(submission(&app, padded(64 * 1024 + 1))).await;
    over.assert_error(413, "request_too_large", None, "64 KiB + 1");
    let chunks: Vec<Result<String, std::io::Error>> =
        vec![Ok(padded(40 * 1024)), Ok(padded(40 * 1024))];
    let chunked = app
        .request(Method::POST, SUBMIT)
        .header("content-type", "application/json")
        .body(reqwest::Body::wrap_stream(futures_util::stream::iter(
            chunks,
        )));
    send(chunked)
        .await
        .assert_error(413, "request_too_large", None, "chunked");

    let body = generation("a").to_string();
    let unsupported = [
        ("content-type", "text/plain"),
        ("content-type", "application/x-www-form-urlencoded"),
        ("content-type", "application/json; charset=utf-16"),
        ("content-encoding", "gzip"),
        ("content-encoding", "br"),
    ];
    for (name, value) in unsupported {
        let mut request = app
            .request(Method::POST, SUBMIT)
            .header(name, value)
            .body(body.clone());
        if name == "content-encoding" {
            request = request.header("content-type", "application/json");
        }
        send(request)
            .await
            .assert_error(415, "unsupported_media_type", None, value);
    }
    let untyped = send(app.request(Method::POST, SUBMIT).body(body)).await;
    untyped.assert_error(415, "unsupported_media_type", None, "no content type");
    // 415 takes precedence over 413, and 413 over 400 (rule B9).
    let both = send(
        app.request(Method::POST, SUBMIT)
            .header("content-type", "text/plain")
            .body("x".repeat(70_000)),
    )
    .await;
    both.assert_error(415, "unsupported_media_type", None, "both");
    send(submission(&app, "x".repeat(70_000)))
        .await
        .assert_error(413, "request_too_large", None, "no JSON either");
    assert_eq!((evolink.stats().submits, row_counts(&app).await[0]), (1, 1));
}

#[tokio::test]
async fn a_body_that_does_not_arrive_is_a_408_and_the_connection_is_closed() {
    let app = TestApp::start().await;
    let mut client = RawClient::connect_plain(app.internal).await;
    let head = "host: localhost\r\ncontent-type: application/json\r\ncontent-length: 100";
    let begun = Instant::now();
    client
        .send(format!(
            "POST {SUBMIT} HTTP/1.1\r\n{head}\r\n\r\n{{\"model\""
        ))
        .await;
    let answer = client.read_response().await;
    assert_eq!(answer.status, 408);
    assert!(
        answer.text().contains("\"request_timeout\""),
        "{}",
        answer.text()
    );
    assert!(begun.elapsed() >= Duration::from_secs(10));
    assert!(client.is_closed_within(Duration::from_secs(30)).await);
    assert_eq!(row_counts(&app).await[0], 0);
}
