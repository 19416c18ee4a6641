//! `tasks watch` and `submit --wait`: how a task is followed to its end.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use super::script::{event, scripted, streamed, task};
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::process::command::{json, run_at};

/// A service whose stream stays open after `events`. Queries for its task get `looks`, one after
/// the other.
async fn service(events: String, looks: Vec<Value>) -> RawServer {
    let next = AtomicUsize::new(0);
    let answer = move |request: &str| {
        if request.starts_with("GET /v1/events ") {
            return streamed(&events);
        }
        assert!(request.starts_with("GET /v1/tasks/"), "{request}");
        let number = next.fetch_add(1, Ordering::Relaxed);
        http(200, &[], &looks[number.min(looks.len() - 1)].to_string())
    };
    RawServer::start_answering(answer, End::Open).await
}

#[tokio::test]
async fn a_watched_task_is_looked_at_once_and_then_told_of_and_never_goes_back() {
    let events = [
        event(1, "pending", 0),
        event(2, "processing", 40),
        event(3, "processing", 60),
        event(4, "completed", 100),
        event(5, "conflict", 100),
    ];
    let server = service(events.concat(), vec![task("processing", 40)]).await;
    let ended = run_at(&server.url, &["tasks", "watch", "task-1"], &[]).await;
    assert_eq!(ended.code, Some(0), "{}", ended.stderr);
    let lines: Vec<&str> = ended.stdout.lines().collect();
    let expected = [
        "task-1  processing, 40 %",
        "task-1  processing, 60 %",
        "task-1  completed",
    ];
    assert_eq!(lines, expected);
    assert_eq!(server.requests().len(), 2);
}

#[tokio::test]
async fn a_submit_that_is_refused_is_seen_though_no_event_tells_of_it() {
    let looks = vec![
        task("submitting", 0),
        task("submitting", 0),
        task("rejected", 0),
    ];
    let server = service(": silence\n\n".to_owned(), looks).await;
    let ended = run_at(&server.url, &["tasks", "watch", "sub-1", "--json"], &[]).await;
    let states: Vec<Value> = ended
        .stdout
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap()["status"].clone())
        .collect();
    assert_eq!(
        (ended.code, states),
        (Some(0), vec![json!("submitting"), json!("rejected")])
    );
}

#[tokio::test]
async fn a_submit_is_answered_at_once_and_then_asked_about_until_its_time_is_over() {
    let next = AtomicUsize::new(0);
    let answer = move |request: &str| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let line = request.lines().next().unwrap();
        match number {
            0 => {
                assert!(line.starts_with("POST /v1/images/generations "), "{line}");
                http(200, &[], &task("pending", 0).to_string())
            }
            1 => http(
                503,
                &[],
                r#"{"error":{"code":"too_many_waiting","message":"full"}}"#,
            ),
            _ => {
                let start = "GET /v1/tasks/sub-1?wait=50 ";
                assert!(line.starts_with(start), "{line}");
                http(200, &[], &task("completed", 100).to_string())
            }
        }
    };
    let server = RawServer::start_answering(answer, End::Close).await;
    let done = run_at(
        &server.url,
        &["submit", "a cat", "--wait=90", "--json"],
        &[],
    )
    .await;
    assert_eq!(json(&done)["status"], "completed");
    assert_eq!(server.requests().len(), 3);
}

#[tokio::test]
async fn a_submit_that_was_sent_and_got_no_usable_answer_is_of_unknown_outcome() {
    let error = |code: &str| json!({"error": {"code": code, "message": "m"}}).to_string();
    let evolinks = ["x-submission-id: 01a22841-eeb6-7000-8002-28b0d77635c0"];
    for (answer, code) in [
        (Vec::new(), 76),
        (http(502, &[], "<html>"), 76),
        (http(200, &[], "<html>"), 76),
        (http(500, &[], &error("internal_error")), 76),
        (http(504, &[], &error("submit_outcome_unknown")), 76),
        (http(404, &[], "<html>"), 69),
        (http(502, &[], &error("evolink_key_rejected")), 69),
        (http(503, &[], &error("service_unavailable")), 75),
        (http(403, &[], &error("permission_denied")), 78),
        (http(403, &evolinks, &error("permission_denied")), 69),
    ] {
        let shown = String::from_utf8_lossy(&answer).into_owned();
        let server = scripted(vec![answer]).await;
        let ended = run_at(&server.url, &["submit", "a cat"], &[]).await;
        assert_eq!(ended.code, Some(code), "{shown}: {}", ended.stderr);
        assert_eq!(ended.stderr.lines().count(), 1, "{}", ended.stderr);
    }
}
