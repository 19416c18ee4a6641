//! `events tail` and `tasks watch`: the binary against a service that sends exactly the bytes that
//! a test wants. Its streams break off, resume, and repeat what is already known.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use crate::support::app::TestApp;
use crate::support::net::ports::free_port;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::process::command::{json, run_at};

/// An answer whose body continues until its connection ends.
fn streamed(body: &str) -> Vec<u8> {
    format!("HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\nconnection: close\r\n\r\n{body}")
        .into_bytes()
}

fn task(state: &str, progress: u32) -> Value {
    json!({"id": "task-1", "progress": progress, "status": state,
        "receiver": {"submission_id": "sub-1", "state": state, "source": "callback"}})
}

fn event(seq: i64, state: &str, progress: u32) -> String {
    let event = json!({"id": format!("k3v9x2ab-{seq}"), "seq": seq, "type": format!("task.{state}"), "at": "2026-01-02T03:04:05.678Z",
        "submission_id": "sub-1", "task_id": "task-1", "source": "callback", "task": task(state, progress)});
    format!("id: k3v9x2ab-{seq}\nevent: task.{state}\ndata: {event}\n\n")
}

/// Sends these answers one after the other, and then repeats the last.
async fn scripted(answers: Vec<Vec<u8>>) -> RawServer {
    let next = AtomicUsize::new(0);
    let answer = move |_: &str| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        answers[number.min(answers.len() - 1)].clone()
    };
    RawServer::start_answering(answer, End::Close).await
}

/// The requests that arrived: the path, and `last-event-id` if there was one.
fn asked(server: &RawServer) -> Vec<(String, Option<String>)> {
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

fn expired() -> Vec<u8> {
    let error = json!({"error": {"code": "cursor_expired", "message": "older than what is kept"}});
    http(410, &[], &error.to_string())
}

#[tokio::test]
async fn a_stream_that_breaks_off_before_its_first_event_is_taken_up_where_it_began() {
    let begins = "text/event-stream\r\nlast-event-id: k3v9x2ab-41";
    let first = String::from_utf8(streamed(": at k3v9x2ab-41\n\n")).unwrap();
    let first = first.replace("text/event-stream", begins).into_bytes();
    let server = scripted(vec![
        first,
        streamed(&event(42, "completed", 100)),
        expired(),
    ])
    .await;
    let ended = run_at(&server.url, &["events", "tail"], &[]).await;
    assert!(
        ended.stdout.starts_with("k3v9x2ab-42  "),
        "{}",
        ended.stdout
    );
    let ids: Vec<_> = asked(&server).into_iter().map(|(_, id)| id).collect();
    assert_eq!(
        ids,
        [
            None,
            Some("k3v9x2ab-41".to_owned()),
            Some("k3v9x2ab-42".to_owned())
        ]
    );
}

/// The service's store was restored from a backup that is older than what the client has read.
#[tokio::test]
async fn a_stream_goes_on_from_where_the_service_says_that_nothing_is_missed() {
    let error = json!({"error": {"code": "cursor_expired", "message": "restored", "resume_after": "wwwwwwww-2"}});
    let server = scripted(vec![
        streamed(&event(4, "completed", 100)),
        http(410, &[], &error.to_string()),
        streamed(&event(3, "completed", 100).replace("k3v9x2ab", "wwwwwwww")),
        expired(),
    ])
    .await;
    let ended = run_at(&server.url, &["events", "tail"], &[]).await;
    let printed: Vec<&str> = ended.stdout.split_whitespace().collect();
    assert_eq!((printed[0], printed[7]), ("k3v9x2ab-4", "wwwwwwww-3"));
    assert!(ended.stderr.contains("restored"), "{}", ended.stderr);
    let ids: Vec<_> = asked(&server)
        .into_iter()
        .filter_map(|(_, id)| id)
        .collect();
    assert_eq!(ids, ["k3v9x2ab-4", "wwwwwwww-2", "wwwwwwww-3"]);
}

#[tokio::test]
async fn a_stream_that_breaks_off_is_taken_up_after_the_last_whole_event() {
    let half = event(3, "completed", 100);
    let first = format!(
        ": hello\n\n{}{}{}",
        event(1, "submitted", 0),
        event(2, "processing", 40),
        &half[..half.len() - 1]
    );
    let busy = json!({"error": {"code": "too_many_waiting", "message": "full"}});
    let server = scripted(vec![
        streamed(&first),
        http(503, &["retry-after: 1"], &busy.to_string()),
        streamed(": nothing yet\n\n"),
        streamed(&format!(
            "{}\r\n: beat\r\n\r\n",
            event(3, "completed", 100).replace('\n', "\r\n")
        )),
        expired(),
    ])
    .await;
    let args = [
        "events",
        "tail",
        "--after",
        "0",
        "--types",
        "task.submitted,task.completed",
    ];
    let ended = run_at(&server.url, &args, &[]).await;
    assert_eq!(ended.code, Some(64), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("410 cursor_expired"),
        "{}",
        ended.stderr
    );
    let lines: Vec<&str> = ended.stdout.lines().collect();
    assert_eq!(
        lines,
        [
            "k3v9x2ab-1  2026-01-02T03:04:05.678Z  task.submitted  task-1, told by callback",
            "k3v9x2ab-2  2026-01-02T03:04:05.678Z  task.processing  task-1, told by callback",
            "k3v9x2ab-3  2026-01-02T03:04:05.678Z  task.completed  task-1, told by callback",
        ]
    );
    let path = "/v1/events?after=0&types=task.submitted%2Ctask.completed";
    let ids = [None, Some("2"), Some("2"), Some("2"), Some("3")];
    let expected = ids.map(|id| (path.to_owned(), id.map(|seq| format!("k3v9x2ab-{seq}"))));
    assert_eq!(asked(&server), expected);
}

#[tokio::test]
async fn events_are_printed_as_json_for_programs_and_cannot_steer_a_terminal() {
    let wild = json!({"id": "1\u{1b}", "seq": 1, "type": "task.\u{1b}[31m", "at": "now\u{202e}", "task_id": "a\nb"});
    let answers = || vec![streamed(&format!("id: 1\ndata: {wild}\n\n")), expired()];
    let args = ["events", "tail", "--task", "a/b?c", "--json"];
    let server = scripted(answers()).await;
    let ended = run_at(&server.url, &args, &[]).await;
    assert_eq!(serde_json::from_str::<Value>(&ended.stdout).unwrap(), wild);
    assert_eq!(asked(&server)[0].0, "/v1/events?task=a%2Fb%3Fc");
    let server = scripted(answers()).await;
    let ended = run_at(&server.url, &["events", "tail"], &[]).await;
    assert_eq!(
        ended.stdout,
        "1\\u{1b}  now\\u{202e}  task.\\u{1b}[31m  a\\nb\n"
    );
}

#[tokio::test]
async fn what_is_no_stream_of_events_is_the_end() {
    for (answer, code, says) in [
        (streamed("data: {oops\n\n"), 69, "not JSON"),
        (
            http(
                403,
                &[],
                r#"{"error":{"code":"permission_denied","message":"no"}}"#,
            ),
            78,
            "403",
        ),
    ] {
        let server = scripted(vec![answer]).await;
        let ended = run_at(&server.url, &["events", "tail"], &[]).await;
        assert_eq!(ended.code, Some(code), "{}", ended.stderr);
        assert!(ended.stderr.contains(says), "{}", ended.stderr);
    }
}

fn start(server: &RawServer, args: &[&str]) -> Child {
    let mut command = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"));
    command.args(args).env_clear().stdout(Stdio::piped());
    command.env("EVOLINK_RECEIVER_URL", &server.url);
    command.spawn().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_ends_well_at_ctrl_c() {
    let body = streamed(&event(7, "failed", 0));
    let server = RawServer::start_answering(move |_| body.clone(), End::Open).await;
    let mut tail = start(&server, &["events", "tail"]);
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let (first, mut lines) = spawn_blocking(move || (lines.next(), lines)).await.unwrap();
    assert!(first.unwrap().unwrap().starts_with("k3v9x2ab-7  "));
    let pid = tail.id().to_string();
    assert!(
        Command::new("kill")
            .args(["-INT", &pid])
            .status()
            .unwrap()
            .success()
    );
    let (ended, rest) = spawn_blocking(move || (tail.wait(), lines.next()))
        .await
        .unwrap();
    assert_eq!(ended.unwrap().code(), Some(0));
    assert!(rest.is_none());
}

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
async fn a_submit_waits_at_the_service_and_again_until_its_time_is_over() {
    let next = AtomicUsize::new(0);
    let answer = move |request: &str| {
        let number = next.fetch_add(1, Ordering::Relaxed);
        let line = request.lines().next().unwrap();
        match number {
            0 => {
                assert!(
                    line.starts_with("POST /v1/images/generations?wait=90 "),
                    "{line}"
                );
                http(200, &[], &task("pending", 0).to_string())
            }
            1 => http(
                503,
                &[],
                r#"{"error":{"code":"too_many_waiting","message":"full"}}"#,
            ),
            _ => {
                assert!(line.starts_with("GET /v1/tasks/sub-1?wait="), "{line}");
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tail_goes_on_where_it_was_when_the_service_is_started_again() {
    let listen = std::net::SocketAddr::from(([127, 0, 0, 1], free_port()));
    let builder = TestApp::builder().with(|config| config.internal.listen = listen);
    let mut app = builder.start().await;
    let url = format!("http://{listen}");
    let mut tail = Command::new(env!("CARGO_BIN_EXE_evolink-receiver"))
        .args(["events", "tail", "--after", "0", "--json"])
        .env_clear()
        .env("EVOLINK_RECEIVER_URL", &url)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(tail.stdout.take().unwrap()).lines();
    let mut seen = Vec::new();
    for number in 0..3 {
        let id = format!("task-{number}");
        for status in ["processing", "failed"] {
            let token = app.standing_token("shop");
            let body = json!({"id": id, "status": status}).to_string();
            assert_eq!(app.callback_result(&token, body).await, "recorded");
            let next = spawn_blocking(move || (lines.next(), lines));
            let (line, rest) = next.await.unwrap();
            lines = rest;
            seen.push(serde_json::from_str::<Value>(&line.unwrap().unwrap()).unwrap());
        }
        let (ended, builder) = app.stop().await;
        ended.unwrap();
        app = builder.start().await;
    }
    let told: Vec<(i64, &str, &str)> = seen
        .iter()
        .map(|event| {
            let (seq, state) = (&event["seq"], &event["task"]["receiver"]["state"]);
            let id = event["task_id"].as_str().unwrap();
            (seq.as_i64().unwrap(), id, state.as_str().unwrap())
        })
        .collect();
    let expected = [
        (1, "task-0", "processing"),
        (2, "task-0", "failed"),
        (3, "task-1", "processing"),
        (4, "task-1", "failed"),
        (5, "task-2", "processing"),
        (6, "task-2", "failed"),
    ];
    assert_eq!(told, expected);
    tail.kill().unwrap();
    tail.wait().unwrap();
    app.stop().await.0.unwrap();
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
