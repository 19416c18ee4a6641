//! `events tail`: the binary against a service that sends exactly the bytes that
//! a test wants. Its streams break off, resume, and repeat what is already known.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::script::{asked, event, expired, scripted, streamed};
use crate::support::app::TestApp;
use crate::support::net::ports::free_port;
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::process::command::run_at;

#[tokio::test]
async fn a_stream_that_breaks_off_before_its_first_event_is_taken_up_where_it_began() {
    let begins = "text/event-stream\r\nlast-event-id: k3v9x2ab-41";
    let first = String::from_utf8(streamed(": at k3v9x2ab-41\n")).unwrap();
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
    assert_eq!((printed[0], printed[6]), ("k3v9x2ab-4", "wwwwwwww-3"));
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
            "k3v9x2ab-1  2026-01-02T03:04:05.678Z  task.submitted  task-1, by callback",
            "k3v9x2ab-2  2026-01-02T03:04:05.678Z  task.processing  task-1, by callback",
            "k3v9x2ab-3  2026-01-02T03:04:05.678Z  task.completed  task-1, by callback",
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
