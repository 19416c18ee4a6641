//! A service that sends exactly the bytes that a test wants.

use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};

use crate::support::net::raw_server::{End, RawServer, http};

/// An answer whose body continues until its connection ends.
pub fn streamed(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

pub fn task(state: &str, progress: u32) -> Value {
    json!({"id": "task-1", "progress": progress, "status": state,
        "receiver": {"submission_id": "sub-1", "state": state, "source": "callback"}})
}

pub fn event(seq: i64, state: &str, progress: u32) -> String {
    let event = json!({"id": format!("k3v9x2ab-{seq}"), "seq": seq, "type": format!("task.{state}"), "at": "2026-01-02T03:04:05.678Z",
        "submission_id": "sub-1", "task_id": "task-1", "source": "callback", "task": task(state, progress)});
    format!("id: k3v9x2ab-{seq}\nevent: task.{state}\ndata: {event}\n\n")
}

/// Sends these answers one after the other, and then repeats the last.
pub async fn scripted(answers: Vec<Vec<u8>>) -> RawServer {
    let next = AtomicUsize::new(0);
    let answer = move |_: &str| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        answers[number.min(answers.len() - 1)].clone()
    };
    RawServer::start_answering(answer, End::Close).await
}

/// The requests that arrived: the path, and `last-event-id` if there was one.
pub fn asked(server: &RawServer) -> Vec<(String, Option<String>)> {
    let heads = server.requests();
    let head = |request: &String| {
        assert!(request.contains("accept: text/event-stream"), "{request}");
        let path = request.split(' ').nth(1).unwrap().to_owned();
        let id = request
            .lines()
            .find_map(|line| line.strip_prefix("last-event-id: "));
        (path, id.map(str::to_owned))
    };
    heads.iter().map(head).collect()
}

pub fn expired() -> Vec<u8> {
    let error = json!({"error": {"code": "cursor_expired", "message": "older than what is kept"}});
    http(410, &[], &error.to_string())
}
