//! A reader that leaves, as in `… | head -n 1`: the command stays quiet and keeps its exit code.

use std::process::{Command, Stdio};

use serde_json::{Value, json};
use tokio::task::spawn_blocking;

use super::script::{event, streamed, task};
use crate::support::net::raw_server::{End, RawServer, http};
use crate::support::process::command::Ended;

/// A page whose table is longer than a pipe holds.
fn long_page(row: &Value) -> Vec<u8> {
    let rows = vec![row; 2000];
    http(200, &[], &json!({"data": rows, "next": null}).to_string())
}

/// A service with much to say.
async fn service() -> RawServer {
    let answer = |request: &str| {
        let path = request.split(' ').nth(1).unwrap();
        let (path, _) = path.split_once('?').unwrap_or((path, ""));
        match path {
            "/v1/events" => {
                let events = (1..2000).map(|seq| event(seq, "processing", 40));
                streamed(&events.collect::<String>())
            }
            "/v1/tasks/task-1" => http(200, &[], &task("processing", 40).to_string()),
            "/v1/images/generations" => http(502, &[], "<html>"),
            path if path.starts_with("/v1/quarantine/") => {
                let headers = vec![json!({"name": "n", "value": "v"}); 20_000];
                let entry = json!({"id": 1, "headers": headers, "body": "b"});
                http(200, &[], &entry.to_string())
            }
            _ => long_page(&task("processing", 40)),
        }
    };
    RawServer::start_answering(answer, End::Open).await
}

/// Runs the command with an output that nobody reads any more, or into a file.
async fn run(url: &str, args: &[&str], is_read: bool) -> Ended {
    let mut command = Command::new("timeout");
    command.args(["30", env!("CARGO_BIN_EXE_evolink-receiver")]);
    command.args(args).env_clear();
    command.env("EVOLINK_RECEIVER_URL", url);
    let stdout = if is_read {
        Stdio::null()
    } else {
        // The reader is dropped here: every write fails.
        let (_, writer) = std::io::pipe().unwrap();
        writer.into()
    };
    command.stdout(stdout);
    let output = spawn_blocking(move || command.output()).await.unwrap();
    output.unwrap().into()
}

#[tokio::test]
async fn every_command_is_quiet_and_keeps_its_exit_code_when_its_reader_leaves() {
    let server = service().await;
    for (args, code) in [
        (&["tasks", "list"][..], 0),
        (&["tasks", "list", "--json"], 0),
        (&["tasks", "show", "task-1"], 0),
        (&["tasks", "show", "task-1", "--json"], 0),
        (&["quarantine", "list"], 0),
        (&["quarantine", "show", "1"], 0),
        (&["deliveries", "list"], 0),
        (&["keys", "new", "--name", "a", "--scopes", "read"], 0),
        (&["completions", "bash"], 0),
        (&["man"], 0),
        (&["--help"], 0),
        (&["check"], 78),
        (&["submit", "x"], 76),
    ] {
        let read = run(&server.url, args, true).await;
        assert_eq!(read.code, Some(code), "{args:?}: {}", read.stderr);
        let unread = run(&server.url, args, false).await;
        assert_eq!(unread.code, Some(code), "{args:?}: {}", unread.stderr);
        assert_eq!(unread.stderr, read.stderr, "{args:?}");
    }
}

#[tokio::test]
async fn a_command_without_an_end_ends_when_its_reader_leaves() {
    let server = service().await;
    for args in [
        &["events", "tail"][..],
        &["events", "tail", "--json"],
        &["tasks", "watch", "task-1"],
        &["tasks", "watch", "task-1", "--json"],
        &["demo", "--tasks", "1"],
    ] {
        let ended = run(&server.url, args, false).await;
        assert_eq!(ended.code, Some(0), "{args:?}: {}", ended.stderr);
        assert_eq!(ended.stderr, "", "{args:?}");
    }
}
